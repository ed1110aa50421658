"""What PyTorch's programs import from here: `join`."""
