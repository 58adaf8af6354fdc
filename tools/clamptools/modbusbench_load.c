/*
 * A closed-loop load on a Modbus TCP server: every connection has one request under way and sends
 * the next as soon as the answer to the last is complete. One thread, epoll. Prints one JSON line.
 *
 * usage: load PORT CONNECTIONS WARMUP_S SECONDS UNIT FIRST COUNT
 *
 * An answer must have the request's transaction id, unit and function code and exactly COUNT
 * registers; anything else is `bad`. Latency is from send to complete answer, in whole us.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1000
#define BINS 1000000 /* us: one second and above share the last */

struct client {
    int fd;
    uint16_t transaction;
    size_t have;
    double sent_s;
    unsigned char answer[512];
};

static struct client clients[MAX_CONNECTIONS];
static unsigned long bins[BINS];
static int unit, first, count;

static double now_s(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void ask(struct client *client)
{
    unsigned char request[12];
    client->transaction++;
    request[0] = client->transaction >> 8;
    request[1] = client->transaction & 0xFF;
    request[2] = request[3] = request[4] = 0;
    request[5] = 6;
    request[6] = unit;
    request[7] = 3;
    request[8] = first >> 8;
    request[9] = first & 0xFF;
    request[10] = count >> 8;
    request[11] = count & 0xFF;
    client->have = 0;
    client->sent_s = now_s();
    if (send(client->fd, request, sizeof request, MSG_NOSIGNAL) != sizeof request)
        fail("send");
}

static int is_good(const struct client *client)
{
    const unsigned char *got = client->answer;
    return (got[0] << 8 | got[1]) == client->transaction && !got[2] && !got[3]
        && (got[4] << 8 | got[5]) == 3 + 2 * count && got[6] == unit && got[7] == 3
        && got[8] == 2 * count;
}

static unsigned long percentile(unsigned long total, double share)
{
    unsigned long wanted = (unsigned long)(total * share), seen = 0;
    for (int us = 0; us < BINS; us++) {
        seen += bins[us];
        if (seen > wanted)
            return us;
    }
    return BINS - 1;
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: load PORT CONNECTIONS WARMUP_S SECONDS UNIT FIRST COUNT\n");
        return 2;
    }
    int port = atoi(argv[1]), connections = atoi(argv[2]);
    double warmup_s = atof(argv[3]), seconds = atof(argv[4]);
    unit = atoi(argv[5]), first = atoi(argv[6]), count = atoi(argv[7]);
    if (connections < 1 || connections > MAX_CONNECTIONS || count < 1 || count > 125) {
        fprintf(stderr, "load: 1 to %d connections, 1 to 125 registers\n", MAX_CONNECTIONS);
        return 2;
    }
    size_t whole = 9 + 2 * count;
    int poll = epoll_create1(0);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < connections; i++) {
        int one = 1;
        clients[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (clients[i].fd < 0 || connect(clients[i].fd, (void *)&server, sizeof server))
            fail("connect");
        setsockopt(clients[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].fd, &event))
            fail("epoll_ctl");
        clients[i].transaction = (uint16_t)(i * 977);
    }
    for (int i = 0; i < connections; i++)
        ask(&clients[i]);
    unsigned long requests = 0, bad = 0;
    double begin_s = now_s(), start_s = begin_s + warmup_s, end_s = start_s + seconds;
    double at_s = begin_s, last_s = begin_s;
    struct epoll_event events[MAX_CONNECTIONS];
    while (at_s < end_s) {
        int ready = epoll_wait(poll, events, MAX_CONNECTIONS, 1000);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait");
        at_s = now_s();
        if (ready <= 0 && at_s - last_s > 5) {
            fprintf(stderr, "load: no answer within 5 s\n");
            return 1;
        }
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            ssize_t got = recv(client->fd, client->answer + client->have,
                               sizeof client->answer - client->have, 0);
            if (got <= 0) {
                fprintf(stderr, "load: the server closed a connection\n");
                return 1;
            }
            last_s = at_s;
            client->have += got;
            if (client->have < whole && !(client->have >= 9 && client->answer[7] & 0x80))
                continue;
            double now = now_s();
            int good = client->have == whole && is_good(client);
            if (now >= start_s && now < end_s) {
                long us = (long)((now - client->sent_s) * 1e6);
                requests += good;
                bad += !good;
                bins[us < BINS ? us : BINS - 1]++;
            } else if (!good) {
                bad++;
            }
            ask(client);
        }
    }
    printf("{\"requests\": %lu, \"bad\": %lu, \"seconds\": %.6f, \"p50_us\": %lu, "
           "\"p99_us\": %lu}\n",
           requests, bad, seconds, percentile(requests, 0.5), percentile(requests, 0.99));
    return 0;
}
