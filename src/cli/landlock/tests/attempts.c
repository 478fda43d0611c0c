/* What somebody would try who has taken the process over: each attempt on its own, "ok" or the error's number. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *base;
static pid_t other;
static int named, unnamed;

static const char *at(const char *name) {
    static char paths[8][4096];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, 4096, "%s/%s", base, name);
    return path;
}

static int done(long result) { return result < 0 ? errno : 0; }

static int opened(const char *path, int flags) {
    int file = open(path, flags, 0600);
    char byte;
    return file < 0 ? errno : (flags & O_ACCMODE) == O_RDONLY ? done(read(file, &byte, 1)) : 0;
}

static int connected(int type, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, type, 0);
    if (type == SOCK_DGRAM)
        return done(sendto(s, "x", 1, 0, (struct sockaddr *)&to, sizeof to));
    return done(connect(s, (struct sockaddr *)&to, sizeof to));
}

static int local(const char *name, int is_abstract) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(to.sun_path + is_abstract, name, length);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    return done(connect(s, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + length + is_abstract));
}

static int by_handle(void) {
    struct { struct file_handle head; char rest[128]; } handle = {.head.handle_bytes = 128};
    int mount;
    if (name_to_handle_at(AT_FDCWD, at("secret"), &handle.head, &mount, 0) < 0)
        return errno;
    return done(open_by_handle_at(open(at("logs"), O_RDONLY), &handle.head, O_RDONLY));
}

static int traced(void) {
    if (ptrace(PTRACE_ATTACH, other, 0, 0) < 0)
        return errno;
    waitpid(other, 0, __WALL);
    return done(ptrace(PTRACE_DETACH, other, 0, 0));
}

static int peeked(void) {
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)1, 1};
    int error = done(process_vm_readv(other, &here, 1, &there, 1, 0));
    return error == EFAULT ? 0 : error; /* it may, and there is nothing at that address */
}

static int mapped(void) {
    union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    return done(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
}

static int ringed(void) {
    char params[120] = {0};
    return done(syscall(SYS_io_uring_setup, 1, params));
}

/* As the manifest has it. */
static int without_capabilities(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    return syscall(SYS_capset, &head, none);
}

static int environment(void) {
    char path[64];
    if (without_capabilities() < 0) /* with CAP_PERFMON a newer kernel asks nobody */
        return -1;
    snprintf(path, sizeof path, "/proc/%d/environ", other);
    return opened(path, O_RDONLY);
}

static int bound(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return done(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&here, sizeof here));
}

static int attempt(int n) {
    struct stat status;
    switch (n) {
    case 0: return traced();
    case 1: return peeked();
    case 2: return environment();
    case 3: return done(kill(other, SIGCONT));
    case 4: return by_handle();
    case 5: return done(mount("none", at("mnt"), "tmpfs", 0, 0));
    case 6: return done(unshare(CLONE_NEWNS | CLONE_NEWNET));
    case 7: return done(chroot(base));
    case 8: return mapped();
    case 9: return ringed();
    case 10: return done(syscall(SYS_keyctl, 0 /* the id of a keyring */, -1 /* the thread's */, 1));
    case 11: return opened(at("secret"), O_RDONLY);
    case 12: return opened(at("beside"), O_WRONLY | O_CREAT);
    case 13: return opened(at("logs/a.log"), O_WRONLY);
    case 14: return done(truncate(at("logs/a.log"), 1));
    case 15: return done(unlink(at("logs/b.log")));
    case 16: return done(link(at("logs/a.log"), at("positions/linked")));
#ifdef SYS_mknod
    case 17: return done(syscall(SYS_mknod, at("positions/device"), S_IFCHR | 0600, makedev(1, 3)));
#else
    case 17: return done(mknod(at("positions/device"), S_IFCHR | 0600, makedev(1, 3)));
#endif
    case 18: return done(symlink("/", at("positions/link")));
    case 19: return connected(SOCK_STREAM, unnamed);
    case 20: return bound();
    case 21: return local(at("abstract"), 1);
    case 22: return opened(at("logs/a.log"), O_RDONLY);
    case 23: return opened(at("positions/p.yaml"), O_WRONLY | O_CREAT);
    case 24: return connected(SOCK_STREAM, named);
    case 25: return connected(SOCK_DGRAM, unnamed);
    case 26: return local(at("socket"), 0);
    case 27: return done(stat(at("secret"), &status));
    case 28: return done(chmod(at("logs/a.log"), 0640));
    default: return -1;
    }
}

int main(int count, char **args) {
    if (count == 2) { /* somebody else: waits until it is killed */
        without_capabilities();
        puts("ready");
        fflush(stdout);
        return pause();
    }
    if (count != 5)
        return 2;
    base = args[1], other = atoi(args[2]), named = atoi(args[3]), unnamed = atoi(args[4]);
    for (int n = 0; n < 29; n++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0)
            _exit(attempt(n) & 255);
        int status;
        waitpid(child, &status, 0);
        printf("%d %d\n", n, WIFEXITED(status) ? WEXITSTATUS(status) : 255);
    }
    return 0;
}
