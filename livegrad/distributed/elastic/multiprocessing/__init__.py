"""Processes started by a launcher, and their errors."""
