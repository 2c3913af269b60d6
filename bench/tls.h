#ifndef TLS_H
#define TLS_H

/* A connection's bytes, plain or under TLS, read and written like those of a socket.
 *
 * TLS needs OpenSSL and is built in with -DWITH_TLS -lssl -lcrypto. Without it every wire is plain,
 * and asking for TLS ends the program.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef struct ssl SSL;
#endif

struct wire {
    int fd;   /* -1: closed */
    SSL *tls; /* NULL: plain */
};

#ifdef WITH_TLS

enum { TLS_READ_BYTES = 65536 }; /* of ciphertext, taken from the socket at once */

static SSL_CTX *tls_context; /* NULL: wires are plain */

__attribute__((noreturn))
static void tls_die(const char *what) {
    fprintf(stderr, "tls: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(2);
}

static void tls_use(const SSL_METHOD *method) {
    tls_context = SSL_CTX_new(method);
    SSL_CTX_set_mode(tls_context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    /* One recv for all records that are there, instead of two for each. */
    SSL_CTX_set_read_ahead(tls_context, 1);
    SSL_CTX_set_default_read_buffer_len(tls_context, TLS_READ_BYTES);
}

/* From now on, wires of a server are under TLS. `files` is "CERTIFICATE,KEY", both PEM. */
__attribute__((unused))
static void tls_serve(const char *files) {
    char *certificate = strdup(files);
    char *key = strchr(certificate, ',');
    if (!key)
        tls_die("CERTIFICATE,KEY is wanted");
    *key++ = 0;
    tls_use(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1)
        tls_die("cannot read the certificate or its key");
    free(certificate);
}

/* From now on, wires of a client are under TLS, to a server whose certificate for 127.0.0.1 an
 * authority in the file has issued. */
__attribute__((unused))
static void tls_trust(const char *authorities, int http2) {
    tls_use(TLS_client_method());
    if (SSL_CTX_load_verify_locations(tls_context, authorities, NULL) != 1)
        tls_die("cannot read the authorities");
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_PEER, NULL);
    const unsigned char *protocols = (const unsigned char *)(http2 ? "\2h2" : "\10http/1.1");
    SSL_CTX_set_alpn_protos(tls_context, protocols, 1u + protocols[0]);
}

static struct wire wire_over(int fd, int server) {
    struct wire wire = {.fd = fd};
    if (!tls_context)
        return wire;
    wire.tls = SSL_new(tls_context);
    SSL_set_fd(wire.tls, fd);
    if (server) {
        SSL_set_accept_state(wire.tls);
    } else {
        SSL_set_connect_state(wire.tls);
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(wire.tls), "127.0.0.1");
    }
    return wire;
}

/* What a call of OpenSSL came to, as recv() and send() say it. An end without close_notify is an
 * error: EPROTO. */
static ssize_t tls_outcome(SSL *tls, int done) {
    if (done > 0)
        return done;
    switch (SSL_get_error(tls, done)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        if (errno)
            return -1;
        /* fallthrough */
    default:
        ERR_clear_error();
        errno = EPROTO;
        return -1;
    }
}

/* Go on with the handshake: 1 when it is done, 0 when it waits for bytes, -1 and errno else. */
__attribute__((unused))
static int wire_greet(struct wire *wire) {
    if (!wire->tls)
        return 1;
    int done = SSL_do_handshake(wire->tls);
    if (done == 1)
        return 1;
    return tls_outcome(wire->tls, done) < 0 && errno == EAGAIN ? 0 : -1;
}

static ssize_t wire_recv(struct wire *wire, void *data, size_t size) {
    if (!wire->tls)
        return recv(wire->fd, data, size, 0);
    return tls_outcome(wire->tls, SSL_read(wire->tls, data, (int)size));
}

/* After EAGAIN, the next call has to begin with the same bytes. */
static ssize_t wire_send(struct wire *wire, const void *data, size_t size) {
    if (!wire->tls)
        return send(wire->fd, data, size, MSG_NOSIGNAL);
    return tls_outcome(wire->tls, SSL_write(wire->tls, data, (int)size));
}

/* Whether bytes were taken from the socket and not handed out: epoll does not know of them. */
static int wire_has_more(const struct wire *wire) {
    return wire->tls && SSL_has_pending(wire->tls);
}

static void wire_close(struct wire *wire) {
    if (wire->tls) {
        SSL_shutdown(wire->tls);
        ERR_clear_error();
        SSL_free(wire->tls);
    }
    if (wire->fd >= 0)
        close(wire->fd);
    *wire = (struct wire){.fd = -1};
}

#else

__attribute__((noreturn))
static void tls_die(const char *what) {
    fprintf(stderr, "tls: %s: built without OpenSSL\n", what);
    exit(2);
}

__attribute__((unused))
static void tls_serve(const char *files) {
    tls_die(files);
}

__attribute__((unused))
static void tls_trust(const char *authorities, int http2) {
    (void)http2;
    tls_die(authorities);
}

static struct wire wire_over(int fd, int server) {
    (void)server;
    return (struct wire){.fd = fd};
}

__attribute__((unused))
static int wire_greet(struct wire *wire) {
    (void)wire;
    return 1;
}

static ssize_t wire_recv(struct wire *wire, void *data, size_t size) {
    return recv(wire->fd, data, size, 0);
}

static ssize_t wire_send(struct wire *wire, const void *data, size_t size) {
    return send(wire->fd, data, size, MSG_NOSIGNAL);
}

static int wire_has_more(const struct wire *wire) {
    (void)wire;
    return 0;
}

static void wire_close(struct wire *wire) {
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
}

#endif
#endif
