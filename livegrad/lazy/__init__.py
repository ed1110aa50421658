"""Deferral: pending values, when they are evaluated, and the storages that tensors share."""
