/*
 * libmodbus as a server, the way its own examples do it: one thread, select, modbus_receive and
 * modbus_reply. Registers hold their own address. Prints its port and serves until it is killed.
 *
 * usage: libmodbus REGISTERS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 100

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: libmodbus REGISTERS\n");
        return 2;
    }
    int registers = atoi(argv[1]);
    modbus_mapping_t *map = modbus_mapping_new(0, 0, registers, registers);
    modbus_t *modbus = modbus_new_tcp("127.0.0.1", 0);
    if (!map || !modbus) {
        fprintf(stderr, "libmodbus: %s\n", modbus_strerror(errno));
        return 1;
    }
    for (int i = 0; i < registers; i++)
        map->tab_registers[i] = map->tab_input_registers[i] = i;
    int listener = modbus_tcp_listen(modbus, BACKLOG);
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    if (listener < 0 || getsockname(listener, (void *)&address, &size)) {
        fprintf(stderr, "libmodbus: %s\n", strerror(errno));
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    fd_set all, ready;
    FD_ZERO(&all);
    FD_SET(listener, &all);
    int highest = listener;
    unsigned char query[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        ready = all;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0)
            return 1;
        for (int fd = 0; fd <= highest; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client < 0)
                    return 1;
                FD_SET(client, &all);
                highest = client > highest ? client : highest;
                continue;
            }
            modbus_set_socket(modbus, fd);
            int got = modbus_receive(modbus, query);
            if (got > 0) {
                modbus_reply(modbus, query, got, map);
            } else if (got < 0) {
                close(fd);
                FD_CLR(fd, &all);
            }
        }
    }
}
