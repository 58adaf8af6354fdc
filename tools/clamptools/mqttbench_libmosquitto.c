/*
 * Publishes at QoS 1 with libmosquitto, a window of messages in flight, and prints how long the
 * answers took and the processor time of it.
 *
 * usage: libmosquitto PORT WINDOW COUNT BYTES TOPIC
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What is used of mosquitto.h of libmosquitto 1 and 2, so that its headers need not be there. */
struct mosquitto;
int mosquitto_lib_init(void);
struct mosquitto *mosquitto_new(const char *id, bool clean_session, void *data);
int mosquitto_int_option(struct mosquitto *client, int option, int value);
int mosquitto_connect(struct mosquitto *client, const char *host, int port, int keepalive_s);
void mosquitto_connect_callback_set(
    struct mosquitto *client, void (*callback)(struct mosquitto *, void *, int));
void mosquitto_publish_callback_set(
    struct mosquitto *client, void (*callback)(struct mosquitto *, void *, int));
int mosquitto_publish(struct mosquitto *client, int *id, const char *topic, int bytes,
    const void *payload, int qos, bool retain);
int mosquitto_loop(struct mosquitto *client, int timeout_ms, int max_packets);
int mosquitto_disconnect(struct mosquitto *client);
enum { OPTION_PROTOCOL_VERSION = 1, OPTION_SEND_MAXIMUM = 5, OPTION_TCP_NODELAY = 8, MQTT_5 = 5 };

static long answered;
static bool connected;

static void on_connect(struct mosquitto *client, void *data, int code)
{
    (void)client;
    (void)data;
    connected = code == 0;
}

static void on_publish(struct mosquitto *client, void *data, int id)
{
    (void)client;
    (void)data;
    (void)id;
    answered++;
}

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: libmosquitto PORT WINDOW COUNT BYTES TOPIC\n");
        return 2;
    }
    int port = atoi(argv[1]), window = atoi(argv[2]), bytes = atoi(argv[4]);
    long count = atol(argv[3]), sent = 0;
    char *payload = malloc((size_t)bytes);
    memset(payload, 'x', (size_t)bytes);
    mosquitto_lib_init();
    struct mosquitto *client = mosquitto_new("bench-libmosquitto", true, NULL);
    mosquitto_int_option(client, OPTION_PROTOCOL_VERSION, MQTT_5);
    mosquitto_int_option(client, OPTION_SEND_MAXIMUM, window);
    mosquitto_int_option(client, OPTION_TCP_NODELAY, 1);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_publish_callback_set(client, on_publish);
    if (mosquitto_connect(client, "127.0.0.1", port, 60)) {
        fprintf(stderr, "no connection to port %d\n", port);
        return 1;
    }
    while (!connected)
        if (mosquitto_loop(client, 1000, 1))
            return 1;
    double begun_s = seconds_of(CLOCK_MONOTONIC), cpu_s = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    while (answered < count) {
        while (sent < count && sent - answered < window) {
            if (mosquitto_publish(client, NULL, argv[5], bytes, payload, 1, false))
                return 1;
            sent++;
        }
        if (mosquitto_loop(client, 1000, 1))
            return 1;
    }
    printf("{\"seconds\": %.6f, \"cpu_s\": %.6f}\n", seconds_of(CLOCK_MONOTONIC) - begun_s,
        seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_s);
    mosquitto_disconnect(client);
    return 0;
}
