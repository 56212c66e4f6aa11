/* The pool, a caught panic, and work in a forked child, under the shim. With an argument the program misbehaves itself, which
 * proves that the shim sees it. */
#define _GNU_SOURCE
#include "gate.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef halo_status (*sum_fn)(uint64_t count, uint64_t *out, halo_error *err);

/* A loss, a reference point and the pool. */
static void work(void) {
  halo_error err;
  uint64_t sum = 0;
  sum_fn pool_sum = (sum_fn)(void (*)(void))halo_proc_find("halo_pool_sum");
  HALO_INIT(err);
  fixture_open();
  CHECK(halo_loss_evaluate(fx.loss, &fx.host.batch, &fx.host.result, &err) == HALO_OK);
  if (pool_sum != NULL) CHECK(pool_sum(100000, &sum, &err) == HALO_OK && sum == 4999950000ull);
  if (hooks()) poison(fx.loss);
  fixture_close();
}

/* 0 when the child did its work; it hangs where it waits for threads that it does not have. */
static int child_works(void) {
  struct timespec tick = {0, 10000000};
  int status = 1, ticks;
  pid_t child;
  gate_watch(0);
  child = fork();
  gate_watch(1);
  if (child == 0) {
    work();
    gate_watch(0);
    _exit(0);
  }
  for (ticks = 0; ticks < 6000; ticks++) {
    if (waitpid(child, &status, WNOHANG) == child) return status;
    nanosleep(&tick, NULL);
  }
  kill(child, SIGKILL);
  return -1;
}

int main(int count, char **arguments) {
  int status;
  (void)arguments;
  gate_watch(1);
  if (count > 1) getenv("HOME");
  work();
  status = child_works();
  if (status == 0) status = child_works(); /* and one that forks after a fork's work */
  gate_watch(0);
  if (status != 0) FAIL("after a fork the child %s", status == -1 ? "hangs" : "fails");
  printf("nothing read, printed or installed; a forked child works\n");
  return 0;
}
