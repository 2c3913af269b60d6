"""What needs a library of a vendor: an extra, imported only when a configuration asks for it."""
