// libtorch's idle worker threads (GNU OpenMP) spin for work before they sleep. OpenMP's default is some milliseconds, which it
// takes from the goroutines that serve HTTP and, on a machine whose cores are busy, from the very thread that it waits for: one
// row of 12 tokens then took 400 ms instead of 7. It can be bounded by the environment alone, which OpenMP reads while the
// program is being loaded. So the program is started anew, under the same process id, with the variable set: before libtorch's
// initialisers have run, which take 0.2 s, and only where the user has made no choice.
#include <linux/limits.h>
#include <string.h>
#include <unistd.h>

// About a few microseconds.
#define SPIN "GOMP_SPINCOUNT=1000"

static int sets(const char *entry, const char *name) { return !strncmp(entry, name, strlen(name)); }

static void limit_spinning(int argc, char **argv, char **env) {
  (void)argc;
  size_t n = 0;
  for (; env[n]; n++) {
    if (sets(env[n], "GOMP_SPINCOUNT=") || sets(env[n], "OMP_WAIT_POLICY=")) return;
  }
  char *more[n + 2];
  memcpy(more, env, n * sizeof *env);
  more[n] = SPIN;
  more[n + 1] = NULL;
  char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length > 0) {
    self[length] = 0;
    execve(self, argv, more);
  }
  static const char failed[] = "valence: could not start anew with " SPIN "; set it, or idle threads will spin\n";
  if (write(STDERR_FILENO, failed, sizeof failed - 1) < 0) return;
}

// What stands in this section is called before the initialisers of the libraries.
__attribute__((section(".preinit_array"), used)) static void (*const first)(int, char **, char **) = limit_spinning;
