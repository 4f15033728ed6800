/* An echo server over libuv: what is read is tried at once (uv_try_write), the rest is queued.
 * Arguments: listener's descriptor, threads (one is used), bytes received at once, one in so many handlers sleeps (0: none),
 * milliseconds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

static size_t room = 4096;
static uint64_t slow_one_in, slow_ms;

static void handle(void) {
    static uint64_t state = 0x2545F4914F6CDD1D;
    if (slow_one_in == 0) return;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    if ((state >> 32) % slow_one_in == 0) {
        struct timespec ms = {(time_t)(slow_ms / 1000), (long)(slow_ms % 1000) * 1000000};
        nanosleep(&ms, NULL);
    }
}

typedef struct {
    uv_tcp_t tcp;
    char buffer[];
} connection;

typedef struct {
    uv_write_t request;
    char rest[];
} unsent;

static void closed(uv_handle_t* it) { free(it); }

static void give_room(uv_handle_t* it, size_t wanted, uv_buf_t* buf) {
    (void)wanted;
    *buf = uv_buf_init(((connection*)it)->buffer, (unsigned)room);
}

static void written(uv_write_t* request, int status) {
    if (status < 0 && !uv_is_closing((uv_handle_t*)request->handle)) uv_close((uv_handle_t*)request->handle, closed);
    free(request);
}

static void came(uv_stream_t* stream, ssize_t got, const uv_buf_t* buf) {
    if (got < 0) {
        uv_close((uv_handle_t*)stream, closed);
        return;
    }
    if (got == 0) return;
    handle();
    uv_buf_t all = uv_buf_init(buf->base, (unsigned)got);
    int sent = uv_try_write(stream, &all, 1);
    if (sent == got) return;
    if (sent < 0) sent = 0;
    unsent* later = malloc(sizeof *later + (size_t)(got - sent));
    memcpy(later->rest, buf->base + sent, (size_t)(got - sent));
    uv_buf_t rest = uv_buf_init(later->rest, (unsigned)(got - sent));
    if (uv_write(&later->request, stream, &rest, 1, written) != 0) {
        free(later);
        uv_close((uv_handle_t*)stream, closed);
    }
}

static void accepted(uv_stream_t* listener, int status) {
    if (status < 0) return;
    connection* made = malloc(sizeof *made + room);
    uv_tcp_init(listener->loop, &made->tcp);
    if (uv_accept(listener, (uv_stream_t*)&made->tcp) != 0) {
        uv_close((uv_handle_t*)&made->tcp, closed);
        return;
    }
    uv_tcp_nodelay(&made->tcp, 1);
    uv_read_start((uv_stream_t*)&made->tcp, give_room, came);
}

int main(int argc, char** argv) {
    if (argc < 6) return 2;
    room = strtoull(argv[3], NULL, 10);
    slow_one_in = strtoull(argv[4], NULL, 10);
    slow_ms = strtoull(argv[5], NULL, 10);
    uv_loop_t* loop = uv_default_loop();
    uv_tcp_t listener;
    uv_tcp_init(loop, &listener);
    if (uv_tcp_open(&listener, atoi(argv[1])) != 0 || uv_listen((uv_stream_t*)&listener, 4096, accepted) != 0) return 1;
    return uv_run(loop, UV_RUN_DEFAULT);
}
