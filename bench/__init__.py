"""What rawproxy costs: the same load sent straight to a mock upstream and through the proxy.

Stands beside the package and uses it only as a user does, by its command. See README.md.
"""
