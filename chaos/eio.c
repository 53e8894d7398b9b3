/* A disk that fails now and then, put before the C library with LD_PRELOAD.
 *
 * Of all writes and syncs of files whose name holds "jobs.db" one in EIO_ONE_IN fails with EIO, for
 * as long as there is a file "disk-fails" in the working directory.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int descriptor) {
    char link[64], path[512];
    if (access("disk-fails", F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, "jobs.db") || strstr(path, "-shm")) return 0;
    if (rand() % atoi(getenv("EIO_ONE_IN")) != 0) return 0;
    errno = EIO;
    return 1;
}

#define NEXT(name, ...) ((ssize_t(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    if (fails(fd)) return -1;
    return NEXT("pwrite64", int, const void *, size_t, off64_t)(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    if (fails(fd)) return -1;
    return NEXT("pwrite", int, const void *, size_t, off_t)(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size) {
    if (fails(fd)) return -1;
    return NEXT("write", int, const void *, size_t)(fd, data, size);
}

int fsync(int fd) { return fails(fd) ? -1 : (int)NEXT("fsync", int)(fd); }

int fdatasync(int fd) { return fails(fd) ? -1 : (int)NEXT("fdatasync", int)(fd); }

__attribute__((constructor)) static void begin(void) { srand(getpid()); }
