/* Makes system calls of a process fail, for tests/faults.rs: LD_PRELOAD this.
 *
 * Calls on files below FAULT_DIR are counted. FAULT_KIND says which ones and what happens to number FAULT_AT:
 *   nospace  it and all later ones that would take space fail with ENOSPC
 *   io       it fails with EIO: reads, writes, syncs and renames
 *   short    it moves half of the bytes asked for: reads and writes
 * At the end the number of calls is written to FAULT_COUNT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { NOSPACE = 1, IO = 2, SHORT = 4 };

static int kind;
static long at;
static const char *dir;
static atomic_long calls;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("FAULT_KIND");
    dir = getenv("FAULT_DIR");
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    if (name && dir) kind = !strcmp(name, "nospace") ? NOSPACE : !strcmp(name, "io") ? IO : SHORT;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("FAULT_COUNT");
    if (!path) return;
    kind = 0;
    FILE *file = fopen(path, "w");
    if (file) {
        fprintf(file, "%ld", atomic_load(&calls));
        fclose(file);
    }
}

static int below(const char *path) { return path && dir && !strncmp(path, dir, strlen(dir)); }

static int is_ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return below(path);
}

/* Whether this call, which the kinds in `kinds` count, is to suffer. */
static int strikes(int kinds) {
    if (!(kind & kinds)) return 0;
    long n = atomic_fetch_add(&calls, 1) + 1;
    return kind == NOSPACE ? at && n >= at : n == at;
}

static int code(void) { return kind == NOSPACE ? ENOSPC : EIO; }

#define NEXT(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

#define TRANSFER(result, name, kinds, buffer, parameters, arguments, types)                                       \
    result name parameters {                                                                                       \
        if (count > 0 && kind && is_ours(fd) && strikes(kinds)) {                                                  \
            if (kind != SHORT) {                                                                                   \
                errno = code();                                                                                    \
                return -1;                                                                                         \
            }                                                                                                      \
            count = count > 1 ? count / 2 : count;                                                                 \
        }                                                                                                          \
        return ((result(*) types)dlsym(RTLD_NEXT, #name)) arguments;                                               \
    }

TRANSFER(ssize_t, write, NOSPACE | IO | SHORT, bytes, (int fd, const void *bytes, size_t count), (fd, bytes, count),
         (int, const void *, size_t))
TRANSFER(ssize_t, pwrite, NOSPACE | IO | SHORT, bytes, (int fd, const void *bytes, size_t count, off_t offset),
         (fd, bytes, count, offset), (int, const void *, size_t, off_t))
TRANSFER(ssize_t, pwrite64, NOSPACE | IO | SHORT, bytes, (int fd, const void *bytes, size_t count, off64_t offset),
         (fd, bytes, count, offset), (int, const void *, size_t, off64_t))
TRANSFER(ssize_t, read, IO | SHORT, bytes, (int fd, void *bytes, size_t count), (fd, bytes, count),
         (int, void *, size_t))
TRANSFER(ssize_t, pread, IO | SHORT, bytes, (int fd, void *bytes, size_t count, off_t offset),
         (fd, bytes, count, offset), (int, void *, size_t, off_t))
TRANSFER(ssize_t, pread64, IO | SHORT, bytes, (int fd, void *bytes, size_t count, off64_t offset),
         (fd, bytes, count, offset), (int, void *, size_t, off64_t))

#define ON_DESCRIPTOR(name, kinds, parameters, arguments, types)                                                   \
    int name parameters {                                                                                          \
        if (kind && is_ours(fd) && strikes(kinds)) {                                                               \
            errno = code();                                                                                        \
            return -1;                                                                                             \
        }                                                                                                          \
        return ((int (*) types)dlsym(RTLD_NEXT, #name)) arguments;                                                 \
    }

ON_DESCRIPTOR(fsync, IO, (int fd), (fd), (int))
ON_DESCRIPTOR(fdatasync, IO, (int fd), (fd), (int))
ON_DESCRIPTOR(ftruncate, NOSPACE | IO, (int fd, off_t length), (fd, length), (int, off_t))
ON_DESCRIPTOR(ftruncate64, NOSPACE | IO, (int fd, off64_t length), (fd, length), (int, off64_t))

int rename(const char *from, const char *to) {
    if (kind && strikes(IO)) {
        errno = EIO;
        return -1;
    }
    return NEXT(int, "rename", const char *, const char *)(from, to);
}

static int open_any(const char *name, const char *path, int flags, mode_t mode) {
    /* Files of the system are opened by absolute paths elsewhere; those of the test by relative ones, too. */
    int creates = flags & O_CREAT && (path[0] != '/' || below(path));
    if (kind && creates && strikes(NOSPACE)) {
        errno = ENOSPC;
        return -1;
    }
    return NEXT(int, name, const char *, int, mode_t)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_any("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_any("open64", path, flags, mode);
}
