/* dlopen, use and dlclose on a thread that ends: destructors of thread-local values run after dlclose. */
#include <dlfcn.h>
#include <pthread.h>

#include "gate.h"

static const char *library;

typedef halo_status (*new_fn)(const char *, const char *, halo_loss **, halo_error *);
typedef void (*free_fn)(halo_loss *);

static void *use(void *unused) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL), *place;
  new_fn make;
  free_fn drop;
  halo_loss *loss = NULL;
  halo_error err;
  (void)unused;
  if (handle == NULL) FAIL("%s", dlerror());
  place = dlsym(handle, "halo_loss_new");
  memcpy(&make, &place, sizeof make);
  place = dlsym(handle, "halo_loss_free");
  memcpy(&drop, &place, sizeof drop);
  HALO_INIT(err);
  CHECK(make("kt0", NULL, &loss, &err) == HALO_E_NOT_FOUND);
  CHECK(make("kto", NULL, &loss, &err) == HALO_OK);
  drop(loss);
  dlclose(handle);
  return NULL;
}

int main(int count, char **arguments) {
  pthread_t thread;
  int i;
  CHECK(count == 2);
  library = arguments[1];
  for (i = 0; i < 20; i++) {
    CHECK(pthread_create(&thread, NULL, use, NULL) == 0);
    pthread_join(thread, NULL);
  }
  printf("opened and closed on 20 threads that ended\n");
  return 0;
}
void gate_fail(const char *file, int line, const char *format, ...) {
  fprintf(stderr, "%s:%d: %s\n", file, line, format);
  _Exit(1);
}
