/* Preloaded into a program: refuses every connection that leaves this machine, whoever makes it, and writes it down. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void tell(const char *call, const char *where) {
    char line[512];
    const char *log = getenv("CONNECTION_LOG");
    int length = snprintf(line, sizeof line, "%s %s\n", call, where), file = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (file >= 0) {
        if (write(file, line, length) < 0) abort();
        close(file);
    }
}

static int leaves(const char *call, const struct sockaddr *address) {
    char where[INET6_ADDRSTRLEN] = "";
    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        if (ntohl(in->sin_addr.s_addr) >> 24 == 127) return 0;
        inet_ntop(AF_INET, &in->sin_addr, where, sizeof where);
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
        if (IN6_IS_ADDR_LOOPBACK(&in->sin6_addr)) return 0;
        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr) && in->sin6_addr.s6_addr[12] == 127) return 0;
        inet_ntop(AF_INET6, &in->sin6_addr, where, sizeof where);
    } else {
        return 0;
    }
    tell(call, where);
    errno = ENETUNREACH;
    return 1;
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return leaves("connect", address) ? -1 : real(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    return leaves("sendto", address) ? -1 : real(socket, data, size, flags, address, length);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    struct in6_addr parsed;
    int number = node && (inet_pton(AF_INET, node, &parsed) == 1 || inet_pton(AF_INET6, node, &parsed) == 1);
    if (node && *node && !number && strcmp(node, "localhost")) {
        tell("getaddrinfo", node);
        return EAI_FAIL;
    }
    return real(node, service, hints, found);
}
