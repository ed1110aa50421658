"""The one place where operators are declared. Importing this package registers all of them."""
