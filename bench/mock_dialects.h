/* What the mock says in each dialect: the frames of a stream, and the body of a whole reply.
 *
 * Templates are written with ' for " and turned once, at start-up. In the closing frames and the
 * answer, %d is the number of output tokens, then of all tokens; %s is the text.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

/* Replaced by the time of writing: see mock.c. */
#define STAMP "@0000000000000000@"
#define STAMP_DIGITS 16

enum {
    MAX_FRAMES = 5,        /* before or after the content events; the last one is NULL */
    OPENING_BYTES = 4096,  /* room for a response head and a preamble */
};

#define GPT "gpt-4o-mini-2024-07-18"
#define CHAT_ID "chatcmpl-BrG7xYc0Qe1kTz5uWv3mNp9sLd2Hf"
#define ITEM_ID "msg_0123456789abcdef0123456789abcdef"

#define CHAT_CHUNK(rest)                                                                      \
    "data: {'id':'" CHAT_ID "','object':'chat.completion.chunk','created':1767225600,"        \
    "'model':'" GPT "','system_fingerprint':'fp_a1b2c3d4e5','choices':[" rest "}\n\n"

#define CHAT_CHOICE(delta, finish_reason)                                                     \
    CHAT_CHUNK("{'index':0,'delta':{" delta "},'logprobs':null,'finish_reason':" finish_reason "}]")

#define FRAME(type, rest) "event: " type "\ndata: {'type':'" type "'" rest "}\n\n"

#define RESPONSE(status)                                                                      \
    "{'id':'resp_0123456789abcdef','object':'response','created_at':1767225600,"              \
    "'status':'" status "','model':'" GPT "','output':["

#define RESPONSE_STARTED(type, number)                                                        \
    FRAME(type, ",'sequence_number':" number ",'response':" RESPONSE("in_progress")           \
          "],'parallel_tool_calls':true,'tool_choice':'auto','tools':[],'usage':null}")

#define OUTPUT_TEXT(text) "{'type':'output_text','annotations':[],'text':'" text "'}"

struct dialect {
    const char *path;                       /* part of the request path that asks for it */
    const char *preamble[MAX_FRAMES];       /* before the first content event */
    const char *content;                    /* one content event */
    const char *closing[MAX_FRAMES];        /* after the last one */
    const char *answer;                     /* the body of a reply that is not a stream */

    /* Made from these by prepare_dialects(): */
    char *opening;                          /* response head and preamble, as they are sent */
    size_t opening_bytes;
    char event[1024];                       /* one content event as a chunk */
    size_t event_bytes;
    size_t stamp_offset;                    /* of the first digit of the stamp in it */

    char *whole;                            /* the last reply that was not a stream, head and all */
    size_t whole_bytes;
    int whole_text_bytes;                   /* for how long a text it was made */
};

static struct dialect dialects[] = {
    {
        .path = "/messages",
        .preamble = {
            FRAME("message_start",
                  ",'message':{'id':'msg_01AbCdEfGhIjKlMnOpQrStUv','type':'message',"
                  "'role':'assistant','model':'claude-sonnet-4-5','content':[],"
                  "'stop_reason':null,'stop_sequence':null,"
                  "'usage':{'input_tokens':300,'output_tokens':1}}"),
            FRAME("content_block_start", ",'index':0,'content_block':{'type':'text','text':''}"),
            "event: ping\ndata: {'type': 'ping'}\n\n",
        },
        .content = FRAME("content_block_delta",
                         ",'index':0,'delta':{'type':'text_delta','text':'" STAMP "'}"),
        .closing = {
            FRAME("content_block_stop", ",'index':0"),
            FRAME("message_delta",
                  ",'delta':{'stop_reason':'end_turn','stop_sequence':null},"
                  "'usage':{'output_tokens':%d}"),
            FRAME("message_stop", ""),
        },
        .answer = "{'id':'msg_01AbCdEfGhIjKlMnOpQrStUv','type':'message','role':'assistant',"
                  "'model':'claude-sonnet-4-5','content':[{'type':'text','text':'%s'}],"
                  "'stop_reason':'end_turn','stop_sequence':null,"
                  "'usage':{'input_tokens':300,'output_tokens':150}}",
    },
    {
        .path = "/responses",
        .preamble = {
            RESPONSE_STARTED("response.created", "0"),
            RESPONSE_STARTED("response.in_progress", "1"),
            FRAME("response.output_item.added",
                  ",'sequence_number':2,'output_index':0,'item':"
                  "{'id':'" ITEM_ID "','type':'message','status':'in_progress',"
                  "'content':[],'role':'assistant'}"),
            FRAME("response.content_part.added",
                  ",'sequence_number':3,'item_id':'" ITEM_ID "','output_index':0,"
                  "'content_index':0,'part':" OUTPUT_TEXT("")),
        },
        .content = FRAME("response.output_text.delta",
                         ",'sequence_number':4,'item_id':'" ITEM_ID "','output_index':0,"
                         "'content_index':0,'delta':'" STAMP "','logprobs':[]"),
        .closing = {
            FRAME("response.output_text.done",
                  ",'sequence_number':5,'item_id':'" ITEM_ID "','output_index':0,"
                  "'content_index':0,'text':'done'"),
            FRAME("response.content_part.done",
                  ",'sequence_number':6,'item_id':'" ITEM_ID "','output_index':0,"
                  "'content_index':0,'part':" OUTPUT_TEXT("done")),
            FRAME("response.output_item.done",
                  ",'sequence_number':7,'output_index':0,'item':"
                  "{'id':'" ITEM_ID "','type':'message','status':'completed',"
                  "'role':'assistant','content':[" OUTPUT_TEXT("done") "]}"),
            FRAME("response.completed",
                  ",'sequence_number':8,'response':" RESPONSE("completed")
                  "{'id':'" ITEM_ID "','type':'message','status':'completed',"
                  "'role':'assistant','content':[" OUTPUT_TEXT("done") "]}],"
                  "'parallel_tool_calls':true,'tool_choice':'auto','tools':[],"
                  "'usage':{'input_tokens':300,'input_tokens_details':{'cached_tokens':0},"
                  "'output_tokens':%d,'output_tokens_details':{'reasoning_tokens':0},"
                  "'total_tokens':%d}}"),
        },
        .answer = RESPONSE("completed")
                  "{'id':'msg_0123456789abcdef','type':'message','status':'completed',"
                  "'role':'assistant','content':[" OUTPUT_TEXT("%s") "]}],"
                  "'parallel_tool_calls':true,'tool_choice':'auto','tools':[],"
                  "'usage':{'input_tokens':300,'output_tokens':150,'total_tokens':450}}",
    },
    {
        .path = "", /* any other path: last in the table */
        .preamble = {CHAT_CHOICE("'role':'assistant','content':''", "null")},
        .content = CHAT_CHOICE("'content':'" STAMP "'", "null"),
        .closing = {
            CHAT_CHOICE("", "'stop'"),
            CHAT_CHUNK("],'usage':{'prompt_tokens':300,'completion_tokens':%d,"
                       "'total_tokens':%d}"),
            "data: [DONE]\n\n",
        },
        .answer = "{'id':'" CHAT_ID "','object':'chat.completion','created':1767225600,"
                  "'model':'" GPT "','choices':[{'index':0,"
                  "'message':{'role':'assistant','content':'%s'},"
                  "'logprobs':null,'finish_reason':'stop'}],"
                  "'usage':{'prompt_tokens':300,'completion_tokens':150,'total_tokens':450},"
                  "'system_fingerprint':'fp_a1b2c3d4e5'}",
    },
};

static const char stream_head[] =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache\r\n"
    "x-request-id: req_0123456789abcdef\r\n"
    "openai-processing-ms: 12\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

static const char filler[] = "lorem ipsum dolor sit amet ";

static size_t write_chunk(char *to, const char *data, size_t size) {
    size_t length = (size_t)sprintf(to, "%zx\r\n", size);
    memcpy(to + length, data, size);
    memcpy(to + length + size, "\r\n", 2);
    return length + size + 2;
}

static const char *with_quotes(const char *template) {
    char *text = strdup(template);
    turn_quotes(text);
    return text;
}

static void prepare_dialects(void) {
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++) {
        struct dialect *dialect = &dialects[i];
        dialect->opening = malloc(OPENING_BYTES);
        dialect->opening_bytes = strlen(stream_head);
        memcpy(dialect->opening, stream_head, dialect->opening_bytes);
        for (const char **frame = dialect->preamble; *frame; frame++) {
            const char *text = with_quotes(*frame);
            char *end = dialect->opening + dialect->opening_bytes;
            dialect->opening_bytes += write_chunk(end, text, strlen(text));
        }
        dialect->content = with_quotes(dialect->content);
        dialect->event_bytes =
            write_chunk(dialect->event, dialect->content, strlen(dialect->content));
        dialect->stamp_offset = (size_t)(strstr(dialect->event, STAMP) - dialect->event) + 1;
        for (const char **frame = dialect->closing; *frame; frame++)
            *frame = with_quotes(*frame);
        dialect->answer = with_quotes(dialect->answer);
    }
}

static void write_stamp(char *digits, uint64_t value) {
    for (int i = STAMP_DIGITS - 1; i >= 0; i--) {
        digits[i] = (char)('0' + value % 10);
        value /= 10;
    }
}
