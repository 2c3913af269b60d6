/* The one request that a run of the load generator sends over and over.
 *
 * Bodies are written with ' for " and turned once; %s is the model, the filler text, the value of
 * "stream".
 */
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

struct request {
    char *bytes;
    size_t size;
};

struct request_options {
    const char *kind;
    const char *path; /* NULL: the kind's */
    const char *model;
    int body_bytes;
    char fields[2048];
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

static struct request build_request(const struct kind *kind, const struct request_options *options,
                                    long port, int stream, int keep_alive) {
    struct request request;
    char *body = build_body(kind, options, stream);
    int size = asprintf(&request.bytes,
                        "POST %s HTTP/1.1\r\n"
                        "Host: 127.0.0.1:%ld\r\n"
                        "User-Agent: OpenAI/Python 1.99.0\r\n"
                        "Accept: application/json\r\n"
                        "Accept-Encoding: identity\r\n"
                        "Content-Type: application/json\r\n"
                        "Authorization: Bearer sk-test-0123456789abcdef\r\n"
                        "x-api-key: sk-test-0123456789abcdef\r\n"
                        "anthropic-version: 2023-06-01\r\n"
                        "%s%s"
                        "Content-Length: %zu\r\n\r\n"
                        "%s",
                        options->path ? options->path : kind->path, port, options->fields,
                        keep_alive ? "" : "Connection: close\r\n", strlen(body), body);
    if (size < 0)
        abort();
    request.size = (size_t)size;
    free(body);
    return request;
}
