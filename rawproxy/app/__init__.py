"""The program: configuration, command line, admin pages."""
