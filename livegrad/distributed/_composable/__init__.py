"""The place where PyTorch's programs look for `fsdp.fully_shard` as well."""
