"""The parts of HTTP/2; `rawproxy.wire.http2` is their door."""
