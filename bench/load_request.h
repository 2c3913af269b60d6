#ifndef LOAD_REQUEST_H
#define LOAD_REQUEST_H

/* The one request that a run of the load generator sends over and over.
 *
 * Bodies are written with ' for " and turned once; %s is the model, the filler text, the value of
 * "stream".
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum {
    FRAMING_BYTES = 420, /* of a body beside its filler, about */
    LEAST_FILLER_BYTES = 10,
};

struct kind {
    const char *name;
    const char *path;
    const char *body;
    const char *terminal_field; /* the line that makes a frame the terminal one */
    const char *terminal_value;
};

#define SYSTEM "You are a careful coding assistant. Answer briefly."
#define QUESTION "Hello, can you help me with a bug?"
#define REPLY "Of course. Show me the code and the failing test."

static const struct kind kinds[] = {
    {
        .name = "chat",
        .path = "/v1/chat/completions",
        .body = "{'model':'%s','messages':["
                "{'role':'system','content':'" SYSTEM "'},"
                "{'role':'user','content':'" QUESTION "'},"
                "{'role':'assistant','content':'" REPLY "'},"
                "{'role':'user','content':'%s'}],"
                "'temperature':0.7,'max_tokens':512,'user':'u-1234','stream':%s}",
        .terminal_field = "data:",
        .terminal_value = "[DONE]",
    },
    {
        .name = "messages",
        .path = "/v1/messages",
        .body = "{'model':'%s','max_tokens':512,'temperature':0.7,"
                "'system':'" SYSTEM "','messages':["
                "{'role':'user','content':'" QUESTION "'},"
                "{'role':'assistant','content':[{'type':'text','text':'" REPLY "'}]},"
                "{'role':'user','content':[{'type':'text','text':'%s'}]}],"
                "'metadata':{'user_id':'u-1234'},'stream':%s}",
        .terminal_field = "event:",
        .terminal_value = "message_stop",
    },
    {
        .name = "responses",
        .path = "/v1/responses",
        .body = "{'model':'%s','input':["
                "{'role':'system','content':'" SYSTEM "'},"
                "{'role':'user','content':'%s'}],"
                "'temperature':0.7,'max_output_tokens':512,'stream':%s}",
        .terminal_field = "event:",
        .terminal_value = "response.completed",
    },
};

static const char lorem[] =
    "You are given a repository and a failing test; explain the cause, then propose the smallest "
    "change that fixes it. ";

#define USER_AGENT "OpenAI/Python 1.99.0"
#define API_KEY "sk-test-0123456789abcdef"
#define VERSION "2023-06-01"

struct request {
    char *bytes; /* as HTTP/1.1 has it: head and body */
    size_t size;
    const char *body;
    size_t body_bytes;
    unsigned char block[4096]; /* as HTTP/2 has it: the field block, and the same body */
    size_t block_bytes;
};

struct request_options {
    const char *kind;
    const char *path; /* NULL: the kind's */
    const char *model;
    const char *body_file; /* NULL: the kind's body, of about `body_bytes` */
    int body_bytes;
    char fields[2048]; /* "Name: value\r\n", any number of times */
};

/* Returns 0 when `name` is not an option of the request. */
static int read_request_option(struct request_options *options, const char *name,
                               const char *value) {
    if (!strcmp(name, "--kind"))
        options->kind = value;
    else if (!strcmp(name, "--path"))
        options->path = value;
    else if (!strcmp(name, "--model"))
        options->model = value;
    else if (!strcmp(name, "--body-file"))
        options->body_file = value;
    else if (!strcmp(name, "--body-bytes"))
        options->body_bytes = atoi(value);
    else if (!strcmp(name, "--header")) {
        size_t used = strlen(options->fields);
        snprintf(options->fields + used, sizeof options->fields - used, "%s\r\n", value);
    } else
        return 0;
    return 1;
}

/* NULL when there is none of that name. */
static const struct kind *find_kind(const char *name) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    }
    return NULL;
}

static char *build_body(const struct kind *kind, const struct request_options *options,
                        int stream) {
    int filler_bytes = options->body_bytes - FRAMING_BYTES;
    if (filler_bytes <= 0)
        filler_bytes = LEAST_FILLER_BYTES;
    char *filler = calloc((size_t)filler_bytes + 1, 1);
    for (int i = 0; i < filler_bytes; i++)
        filler[i] = lorem[(size_t)i % (sizeof lorem - 1)];
    char *body;
    if (asprintf(&body, kind->body, options->model, filler, stream ? "true" : "false") < 0)
        abort();
    free(filler);
    turn_quotes(body);
    return body;
}

static char *read_body_file(const char *path) {
    FILE *file = fopen(path, "rb");
    char *body = NULL;
    size_t room = 0;
    if (!file || getdelim(&body, &room, 0, file) < 0) {
        fprintf(stderr, "load: cannot read %s\n", path);
        exit(2);
    }
    fclose(file);
    return body;
}

/* A field of HPACK (RFC 7541 6.2.2) that no table keeps. Its name is number `index` of the static
 * table, or, when that is 0, `name` in lower case. */
static void add_field(struct request *request, unsigned index, const char *name,
                      const char *value) {
    size_t name_bytes = index ? 0 : strlen(name);
    size_t value_bytes = strlen(value);
    unsigned char *to = request->block + request->block_bytes;
    if (name_bytes > 126 || value_bytes > 126 ||
        request->block_bytes + name_bytes + value_bytes + 4 > sizeof request->block) {
        fprintf(stderr, "load: a field is too long for HTTP/2\n");
        exit(2);
    }
    *to++ = (unsigned char)(index < 15 ? index : 15);
    if (index >= 15)
        *to++ = (unsigned char)(index - 15);
    if (!index) {
        *to++ = (unsigned char)name_bytes;
        for (size_t i = 0; i < name_bytes; i++)
            *to++ = (unsigned char)tolower((unsigned char)name[i]);
    }
    *to++ = (unsigned char)value_bytes;
    memcpy(to, value, value_bytes);
    request->block_bytes = (size_t)(to + value_bytes - request->block);
}

static void add_more_fields(struct request *request, const char *fields) {
    char *copy = strdup(fields);
    char *rest;
    for (char *line = strtok_r(copy, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        char *colon = strstr(line, ": ");
        if (!colon)
            continue;
        *colon = 0;
        add_field(request, 0, line, colon + 2);
    }
    free(copy);
}

static void build_block(struct request *request, const char *authority, const char *path,
                        const char *fields, int tls) {
    char length[24];
    sprintf(length, "%zu", request->body_bytes);
    request->block[0] = 0x83;              /* :method POST */
    request->block[1] = tls ? 0x87 : 0x86; /* :scheme */
    request->block_bytes = 2;
    add_field(request, 4, ":path", path);
    add_field(request, 1, ":authority", authority);
    add_field(request, 58, "user-agent", USER_AGENT);
    add_field(request, 19, "accept", "application/json");
    add_field(request, 16, "accept-encoding", "identity");
    add_field(request, 31, "content-type", "application/json");
    add_field(request, 23, "authorization", "Bearer " API_KEY);
    add_field(request, 0, "x-api-key", API_KEY);
    add_field(request, 0, "anthropic-version", VERSION);
    add_more_fields(request, fields);
    add_field(request, 28, "content-length", length);
}

static struct request build_request(const struct kind *kind, const struct request_options *options,
                                    long port, int stream, int keep_alive, int tls) {
    struct request request = {0};
    char *body = options->body_file ? read_body_file(options->body_file)
                                    : build_body(kind, options, stream);
    const char *path = options->path ? options->path : kind->path;
    char authority[32];
    sprintf(authority, "127.0.0.1:%ld", port);
    int size = asprintf(&request.bytes,
                        "POST %s HTTP/1.1\r\n"
                        "Host: %s\r\n"
                        "User-Agent: " USER_AGENT "\r\n"
                        "Accept: application/json\r\n"
                        "Accept-Encoding: identity\r\n"
                        "Content-Type: application/json\r\n"
                        "Authorization: Bearer " API_KEY "\r\n"
                        "x-api-key: " API_KEY "\r\n"
                        "anthropic-version: " VERSION "\r\n"
                        "%s%s"
                        "Content-Length: %zu\r\n\r\n"
                        "%s",
                        path, authority, options->fields,
                        keep_alive ? "" : "Connection: close\r\n", strlen(body), body);
    if (size < 0)
        abort();
    request.size = (size_t)size;
    request.body_bytes = strlen(body);
    request.body = request.bytes + request.size - request.body_bytes;
    build_block(&request, authority, path, options->fields, tls);
    free(body);
    return request;
}

#endif
