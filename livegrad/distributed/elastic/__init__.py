"""What programs started by a launcher ask for: `elastic.multiprocessing.errors.record`."""
