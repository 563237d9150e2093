/* Preloaded into a server: its wall clock is what a file says. The file has two numbers of 64 bits, in microseconds: how far the wall clock is
 * off, and, unless it is 0, where it stands still. Other clocks are left alone. (libfaketime cannot be had with jemalloc, which
 * Debian's server is built with: it ends the process.) */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *file;

__attribute__((constructor)) static void map_file(void) {
  const char *path = getenv("LESSOR_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) _exit(70);
  close(fd);
  file = at;
}

static int64_t now(void) {
  struct timespec real;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
  int64_t micros = (int64_t)real.tv_sec * 1000000 + real.tv_nsec / 1000;
  if (!file) return micros;
  int64_t still = file[1];
  return still ? still : micros + file[0];
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  (void)zone;
  int64_t at = now();
  out->tv_sec = at / 1000000;
  out->tv_usec = at % 1000000;
  return 0;
}

int clock_gettime(clockid_t id, struct timespec *out) {
  if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, id, out);
  int64_t at = now();
  out->tv_sec = at / 1000000;
  out->tv_nsec = at % 1000000 * 1000;
  return 0;
}

time_t time(time_t *out) {
  time_t at = now() / 1000000;
  if (out) *out = at;
  return at;
}
