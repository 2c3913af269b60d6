"""The corpus, part one: request lines, targets, versions, methods, Host, and what stands before."""

from rawproxy.wire.http import Fields
from tests.wire.corpus.case import BODY, CALL, HOST, LENGTH, Accept, Case, Refuse, Short, head

LOCALHOST = b"Host: localhost"
GET = head(b"GET / HTTP/1.1", LOCALHOST)


def line(name: str, rule: str, raw: bytes, verdict: Accept | Refuse) -> Case:
    """A request line, with a Host behind it."""
    return Case(name, rule, head(raw, LOCALHOST), verdict)


def got(method: bytes = b"GET", target: bytes = b"/", *, keep: bool = True) -> Accept:
    """A request without body that has no other field than Host."""
    return Accept(method, target, [HOST], keep=keep)


def host(name: str, rule: str, value: bytes, *, good: bool) -> Case:
    """A GET with this Host."""
    raw = head(b"GET / HTTP/1.1", b"Host: " + value)
    verdict = Accept(b"GET", b"/", [(b"host", value)]) if good else Refuse()
    return Case(f"host: {name}", rule, raw, verdict)


def absolute(name: str, target: bytes, becomes: bytes, authority: bytes, rule: str = "") -> Case:
    """A target in absolute-form; its authority takes the place of Host."""
    raw = head(b"GET %b HTTP/1.1" % target, b"Host: other")
    fields: Fields = [(b"host", authority)]
    return Case(
        f"absolute-form: {name}", rule or "9112 3.2.2", raw, Accept(b"GET", becomes, fields)
    )


METHODS = [
    *(line(f"method {one.decode()}", "9110 9.3", one + b" / HTTP/1.1", got(one))
      for one in (b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"PROPFIND", b"POST")),
    line("a method of one letter", "9110 9.1", b"G / HTTP/1.1", got(b"G")),
    line("a method in lower case is another method", "9110 9.1", b"get / HTTP/1.1", got(b"get")),
    line("a method of every token character", "9110 5.6.2", b"!#$%&'*+-.^_`|~09aZ / HTTP/1.1",
         got(b"!#$%&'*+-.^_`|~09aZ")),
    line("a method that begins with PRI", "9113 3.4", b"PRIOR / HTTP/1.1", got(b"PRIOR")),
    line("a method with a colon", "9110 5.6.2", b"GET: / HTTP/1.1", Refuse()),
    line("a method in quotes", "9110 5.6.2", b'"GET" / HTTP/1.1', Refuse()),
    line("a method in brackets", "9110 5.6.2", b"G[T] / HTTP/1.1", Refuse()),
    line("a method with a comma", "9110 5.6.2", b"GET,POST / HTTP/1.1", Refuse()),
    line("a method with a slash", "9110 5.6.2", b"G/T / HTTP/1.1", Refuse()),
    line("a method that is not ASCII", "9110 5.6.2", b"G\xc3\x8bT / HTTP/1.1", Refuse()),
    line("a method with a NUL", "9110 5.6.2", b"G\x00T / HTTP/1.1", Refuse()),
    line("a method with a tab", "9112 3", b"GET\t/ HTTP/1.1", Refuse()),
    line("CONNECT to an authority", "9110 9.3.6", b"CONNECT localhost:443 HTTP/1.1", Refuse(501)),
    line("CONNECT to a path", "9110 9.3.6", b"CONNECT / HTTP/1.1", Refuse(501)),
    line("CONNECT to an absolute target", "9110 9.3.6", b"CONNECT http://localhost/ HTTP/1.1", Refuse(501)),
]  # fmt: skip

SHAPES = [
    Case("no request line", "9112 3", head(LOCALHOST), Refuse()),
    line("only a method", "9112 3", b"GET", Refuse()),
    line("no version", "9112 3", b"GET /", Refuse()),
    line("no target", "9112 3", b"GET HTTP/1.1", Refuse()),
    line("an empty target", "9112 3", b"GET  HTTP/1.1", Refuse()),
    line("no method", "9112 3", b" / HTTP/1.1", Refuse()),
    line("a blank in front", "9112 3", b" GET / HTTP/1.1", Refuse()),
    line("a tab in front", "9112 3", b"\tGET / HTTP/1.1", Refuse()),
    line("a blank behind", "9112 3", b"GET / HTTP/1.1 ", Refuse()),
    line("two blanks after the method", "9112 3", b"GET  / HTTP/1.1", Refuse()),
    line("two blanks before the version", "9112 3", b"GET /  HTTP/1.1", Refuse()),
    line("a tab before the version", "9112 3", b"GET /\tHTTP/1.1", Refuse()),
    line("a form feed for a blank", "9112 3", b"GET\x0c/ HTTP/1.1", Refuse()),
    line("a vertical tab for a blank", "9112 3", b"GET /\x0bHTTP/1.1", Refuse()),
    line("a no-break space for a blank", "9112 3", b"GET\xa0/ HTTP/1.1", Refuse()),
    line("four words", "9112 3", b"GET / x HTTP/1.1", Refuse()),
    line("two versions", "9112 3", b"GET / HTTP/1.1 HTTP/1.1", Refuse()),
    line("a bare CR inside", "9112 2.2", b"GET /\rx HTTP/1.1", Refuse()),
    Case("a bare LF ends the line", "9112 2.2", b"GET / HTTP/1.1\nHost: localhost\r\n\r\n", Refuse()),
    Case("a bare CR ends the line", "9112 2.2", b"GET / HTTP/1.1\rHost: localhost\r\n\r\n", Refuse()),
    Case("two CRs end the line", "9112 2.2", b"GET / HTTP/1.1\r\r\nHost: localhost\r\n\r\n", Refuse()),
    Case("LF and CR in the wrong order", "9112 2.2", b"GET / HTTP/1.1\n\rHost: localhost\r\n\r\n", Refuse()),
    Case("all line ends are bare LFs", "9112 2.2", b"GET / HTTP/1.1\nHost: localhost\n\n", Refuse()),
    Case("the blank line is a bare LF", "9112 2.2", b"GET / HTTP/1.1\r\nHost: localhost\r\n\n", Refuse()),
    Case("TLS instead of HTTP", "9112 3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", Refuse()),
    Case("a status line", "9112 2.1", head(b"HTTP/1.1 200 OK", LOCALHOST), Refuse()),
    Case("another protocol", "9112 3", b"SSH-2.0-OpenSSH_9.0\r\n\r\n", Refuse()),
    Case("a head that is not whole", "9112 8", b"GET / HTTP/1.1\r\nHost: localhost\r\n", Short()),
    Case("a line that is not whole", "9112 8", b"GET / HT", Short()),
]  # fmt: skip

VERSIONS = [
    line("version 1.1", "9112 2.3", b"GET / HTTP/1.1", got()),
    line("version 1.0", "9112 2.3", b"GET / HTTP/1.0", got(keep=False)),
    Case("version 1.0 without Host", "9112 3.2", head(b"GET / HTTP/1.0"),
         Accept(b"GET", b"/", [], keep=False)),
    *(line(f"version {one.decode()}", "9110 15.6.6", b"GET / HTTP/" + one, Refuse(505))
      for one in (b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"9.9")),
    *(line(f"version {one!r}", "9112 2.3", b"GET / " + one, Refuse())
      for one in (b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/11", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1.01",
                  b"HTTP/1,1", b"HTTP/-1.1", b"HTTP/+1.1", b"HTTP/1.1x", b"HTTP/ 1.1", b"HTTP /1.1",
                  b"http/1.1", b"Http/1.1", b"HTTP1.1", b"HTTPS/1.1", b"XHTTP/1.1", b"HTTP/1.\xb2",
                  b"HTTP/0x1.1", b"HTTP\\1.1")),
    Case("HTTP/0.9", "9112 2.3", b"GET /\r\n\r\n", Refuse()),
    Case("the preface of HTTP/2", "9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refuse(505), h1_only=True),
]  # fmt: skip

TARGETS = [
    *(line(f"origin-form: {one.decode()}", "9112 3.2.1", b"GET %b HTTP/1.1" % one, got(target=one))
      for one in (b"/a/b/c", b"//", b"//host/path", b"/?", b"/?a=b&c=d", b"/a?b?c", b"/%20", b"/%00", b"/%0d%0a",
                  b"/%", b"/%zz", b"/.", b"/..", b"/a/../b", b"/a;b=c", b"/a:b@c", b"/~!$&'()*+,;=",
                  b"/http://other/", b"/*", b"/\\", b"/{}|^`<>\"[]", b"/?http://other/")),
    line("a target of 8,000 bytes", "9112 3", b"GET /" + b"a" * 8000 + b" HTTP/1.1", got(target=b"/" + b"a" * 8000)),
    line("a fragment", "9112 3.2", b"GET /a#b HTTP/1.1", Refuse()),
    line("an empty fragment", "9112 3.2", b"GET /# HTTP/1.1", Refuse()),
    line("a fragment after a query", "9112 3.2", b"GET /?a#b HTTP/1.1", Refuse()),
    line("a blank in the path", "9112 3.2", b"GET /a b HTTP/1.1", Refuse()),
    line("a path without slash", "9112 3.2.1", b"GET a HTTP/1.1", Refuse()),
    line("only a query", "9112 3.2.1", b"GET ?a=b HTTP/1.1", Refuse()),
    line("a relative path", "9112 3.2.1", b"GET ../a HTTP/1.1", Refuse()),
    line("a backslash first", "9112 3.2.1", b"GET \\a HTTP/1.1", Refuse()),
    line("bytes that are not ASCII", "9112 3.2", b"GET /\xc3\xa4 HTTP/1.1", Refuse()),
    line("a byte of 0xff", "9112 3.2", b"GET /\xff HTTP/1.1", Refuse()),
    *(line(f"{byte:#04x} in the path", "9112 3.2", b"GET /a%cb HTTP/1.1" % byte, Refuse())
      for byte in (0x00, 0x01, 0x08, 0x09, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F)),
    line("asterisk for OPTIONS", "9112 3.2.4", b"OPTIONS * HTTP/1.1", got(b"OPTIONS", b"*")),
    line("asterisk for GET", "9112 3.2.4", b"GET * HTTP/1.1", Refuse()),
    line("asterisk for a POST", "9112 3.2.4", b"POST * HTTP/1.1", Refuse()),
    line("two asterisks", "9112 3.2.4", b"OPTIONS ** HTTP/1.1", Refuse()),
    line("asterisk with a query", "9112 3.2.4", b"OPTIONS *?a HTTP/1.1", Refuse()),
    line("authority-form for GET", "9112 3.2.3", b"GET localhost:80 HTTP/1.1", Refuse()),
    line("a host for GET", "9112 3.2.3", b"GET localhost HTTP/1.1", Refuse()),
    absolute("a path", b"http://localhost/a?b", b"/a?b", b"localhost"),
    absolute("a port", b"http://localhost:8080/", b"/", b"localhost:8080"),
    absolute("no path", b"http://localhost", b"/", b"localhost", "9110 4.2.3"),
    absolute("a query and no path", b"http://localhost?a=b", b"/?a=b", b"localhost"),
    absolute("the scheme in upper case", b"HTTP://localhost/a", b"/a", b"localhost", "9110 4.2.3"),
    absolute("https", b"https://localhost/a", b"/a", b"localhost"),
    absolute("an address", b"http://127.0.0.1/a", b"/a", b"127.0.0.1"),
    absolute("an IPv6 address", b"http://[::1]:8080/a", b"/a", b"[::1]:8080"),
    absolute("a path of two slashes", b"http://localhost//a", b"//a", b"localhost"),
    Case("absolute-form and no Host", "9112 3.2", head(b"GET http://localhost/ HTTP/1.1"), Refuse()),
    Case("absolute-form in HTTP/1.0 brings a Host", "9112 3.2.2", head(b"GET http://localhost/ HTTP/1.0"),
         Accept(b"GET", b"/", [HOST], keep=False)),
    Case("absolute-form and a bad Host", "9112 3.2", head(b"GET http://localhost/ HTTP/1.1", b"Host: a/b"), Refuse()),
    Case("absolute-form and two Hosts", "9112 3.2",
         head(b"GET http://localhost/ HTTP/1.1", LOCALHOST, LOCALHOST), Refuse()),
    Case("absolute-form of a call", "9112 3.2.2",
         head(b"POST http://localhost%b HTTP/1.1" % CALL, b"Host: other", LENGTH) + BODY,
         Accept(b"POST", CALL, [HOST, (b"content-length", b"%d" % len(BODY))], BODY)),
    Case("absolute-form for OPTIONS without path", "9112 3.2.4",
         head(b"OPTIONS http://localhost HTTP/1.1", LOCALHOST), got(b"OPTIONS", b"*")),
    *(line(f"absolute-form: {name}", "9110 4.2", b"GET %b HTTP/1.1" % target, Refuse())
      for name, target in (
          ("userinfo", b"http://user@localhost/"), ("a password", b"http://u:p@localhost/"),
          ("no authority", b"http:///a"), ("nothing", b"http://"), ("one slash", b"http:/localhost/"),
          ("no slash", b"http:localhost"), ("another scheme", b"ftp://localhost/"),
          ("a file", b"file:///etc/passwd"), ("a script", b"javascript:alert(1)"),
          ("a port too large", b"http://localhost:65536/"), ("a port that is no number", b"http://localhost:a/"),
          ("a backslash", b"http://localhost\\@other/"), ("a fragment", b"http://localhost/#a"),
          ("half an address", b"http://[::1/"), ("a blank", b"http://local host/"),
          ("the scheme alone", b"http"), ("a comma", b"http://a/,http://b/ x"))),
]  # fmt: skip

HOSTS = [
    Case("no Host", "9112 3.2", head(b"GET / HTTP/1.1"), Refuse()),
    Case("no Host, but other fields", "9112 3.2", head(b"GET / HTTP/1.1", b"Accept: */*"), Refuse()),
    Case("two Hosts that are equal", "9112 3.2", head(b"GET / HTTP/1.1", LOCALHOST, LOCALHOST), Refuse()),
    Case("two Hosts that differ", "9112 3.2", head(b"GET / HTTP/1.1", LOCALHOST, b"Host: other"), Refuse()),
    Case("two Hosts apart", "9112 3.2", head(b"GET / HTTP/1.1", LOCALHOST, b"A: b", b"hOST: other"), Refuse()),
    Case("two Hosts, one of them empty", "9112 3.2", head(b"GET / HTTP/1.1", b"Host:", LOCALHOST), Refuse()),
    Case("two Hosts in HTTP/1.0", "9112 3.2", head(b"GET / HTTP/1.0", LOCALHOST, LOCALHOST), Refuse()),
    Case("a Host in a folded line", "9112 5.2", b"GET / HTTP/1.1\r\nHost:\r\n localhost\r\n\r\n", Refuse()),
    Case("the name in upper case", "9110 5.1", head(b"GET / HTTP/1.1", b"HOST: localhost"), got()),
    Case("no blank before the value", "9112 5.1", head(b"GET / HTTP/1.1", b"Host:localhost"), got()),
    Case("blanks around the value", "9112 5.1", head(b"GET / HTTP/1.1", b"Host: \t localhost\t "), got()),
    Case("Host behind other fields", "9110 7.2", head(b"GET / HTTP/1.1", b"A: b", LOCALHOST),
         Accept(b"GET", b"/", [(b"a", b"b"), HOST])),
    Case("a blank before the colon", "9112 5.1", head(b"GET / HTTP/1.1", b"Host : localhost"), Refuse()),
    Case("an empty Host in HTTP/1.0", "9112 3.2", head(b"GET / HTTP/1.0", b"Host:"), Refuse()),
    *(host(value.decode() or "empty", "9110 7.2", value, good=True)
      for value in (b"localhost", b"localhost:80", b"LOCALHOST", b"localhost:0", b"localhost:65535", b"localhost:00080",
                    b"a.example", b"a-b_c.example", b"a.example.", b"xn--a", b"127.0.0.1", b"127.0.0.1:8080", b"[::1]",
                    b"[::1]:8080", b"[2001:db8::1]", b"[::ffff:127.0.0.1]", b"a%2db", b"a!$&'()*+,;=b", b"256.1.1.1")),
    *(host(name, "9110 7.2", value, good=False)
      for name, value in (
          ("empty", b""), ("only a port", b":80"), ("a colon and no port", b"localhost:"), ("two ports", b"localhost:80:80"),
          ("a port too large", b"localhost:65536"), ("a port of six digits", b"localhost:000080"),
          ("a negative port", b"localhost:-1"), ("a port with a sign", b"localhost:+80"), ("a port of letters", b"localhost:http"),
          ("a port behind a blank", b"localhost: 80"),
          ("userinfo", b"user@localhost"), ("a password", b"u:p@localhost"), ("a path", b"localhost/"),
          ("a scheme", b"http://localhost"), ("a query", b"localhost?a"), ("a fragment", b"localhost#a"),
          ("a backslash", b"localhost\\a"), ("two names", b"localhost other"), ("a list", b"localhost, other"),
          ("a tab inside", b"local\thost"), ("quotes", b'"localhost"'), ("angle brackets", b"<localhost>"),
          ("not ASCII", b"h\xc3\xb6st"), ("an IPv6 address without brackets", b"::1"), ("half a bracket", b"[::1"),
          ("the other half", b"::1]"), ("empty brackets", b"[]"), ("no address in brackets", b"[localhost]"),
          ("an IPv4 address in brackets", b"[127.0.0.1]"), ("a zone", b"[fe80::1%25eth0]"),
          ("a later version of IP", b"[v1.a]"), ("letters behind a bracket", b"[::1]a"), ("a bad escape", b"a%2"),
          ("a NUL", b"localhost\x00"), ("a control character", b"local\x1fhost"), ("a wildcard in brackets", b"[*]"),
          ("a caret", b"a^b"), ("a pipe", b"a|b"))),
]  # fmt: skip

BEFORE = [
    Case("an empty line before", "9112 2.2", b"\r\n" + GET, got()),
    Case("three empty lines before", "9112 2.2", b"\r\n\r\n\r\n" + GET, got()),
    Case("a bare LF before", "9112 2.2", b"\n" + GET, Refuse()),
    Case("a bare CR before", "9112 2.2", b"\r" + GET, Refuse()),
    Case("CRLF and a bare LF before", "9112 2.2", b"\r\n\n" + GET, Refuse()),
    Case("CRLF and a blank before", "9112 2.2", b"\r\n " + GET, Refuse()),
    Case("a NUL before", "9112 2.2", b"\x00" + GET, Refuse()),
    Case("a byte order mark before", "9112 2.2", b"\xef\xbb\xbf" + GET, Refuse()),
    Case("a line of blanks before", "9112 2.2", b"  \r\n" + GET, Refuse()),
    Case("a field before", "9112 3", b"X: y\r\n" + GET, Refuse()),
    Case("40,000 bytes of empty lines before", "9112 2.2", b"\r\n" * 20000 + GET, Refuse(431)),
]  # fmt: skip

LINES = [*METHODS, *SHAPES, *VERSIONS, *TARGETS, *HOSTS, *BEFORE]
