/* Calls that must be refused, and the proof that a refusal changed nothing. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "gate.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>

static const char *function = "?";
static int known_valid;
static unsigned accepted, refused;

/* What the arguments and the host's memory were before a call. */
static unsigned char before[16384];

void gate_fail(const char *file, int line, const char *format, ...) {
  va_list words;
  va_start(words, format);
  fflush(stdout);
  fprintf(stderr, "%s:%d: ", file, line);
  vfprintf(stderr, format, words);
  fprintf(stderr, "\n");
  va_end(words);
  _Exit(1);
}

void gate_function(const char *name, int valid) {
  function = name;
  known_valid = valid;
}

int works(gate_call call, void *args, int demand) {
  halo_error err;
  halo_status status;
  HALO_INIT(err);
  status = call(args, &err);
  if (status == HALO_OK || demand == 0) return status == HALO_OK;
  if (demand == 2 && status == HALO_E_UNSUPPORTED && !halo_feature_has("session")) return 0;
  FAIL("%s, the samples: %s, %s", function, halo_status_name(status), err.message);
  return 0;
}

void accept(const char *what, gate_call call, void *args) {
  halo_error err, untouched;
  halo_status status;
  memset(&err, CANARY, sizeof err);
  err.struct_size = sizeof err;
  memcpy(&untouched, &err, sizeof err);
  status = call(args, &err);
  if (status != HALO_OK) FAIL("%s, %s: %s, %s", function, what, halo_status_name(status), err.message);
  if (memcmp(&err, &untouched, sizeof err) != 0) FAIL("%s, %s: err was written although all went well", function, what);
  accepted++;
}

/* A failure's record says all that it can say. */
static void check_record(const char *what, const halo_error *err, halo_status status, int argument) {
  if (err->struct_size != sizeof *err) FAIL("%s, %s: err->struct_size was written", function, what);
  if (err->code != status) FAIL("%s, %s: returned %d, err->code is %d", function, what, status, err->code);
  if (memchr(err->site, 0, sizeof err->site) == NULL || err->site[0] == 0) FAIL("%s, %s: no site", function, what);
  if (memchr(err->message, 0, sizeof err->message) == NULL || err->message[0] == 0) FAIL("%s, %s: no message", function, what);
  if (known_valid && argument != ANY && err->argument != argument)
    FAIL("%s, %s: argument %d is blamed instead of %d: %s", function, what, err->argument, argument, err->message);
}

void refuse(const char *what, gate_call call, void *args, size_t size, int argument, unsigned long long statuses) {
  halo_error err;
  halo_status status, blind;
  if (size + sizeof fx.host > sizeof before) FAIL("%s: %zu bytes of arguments are too many for this test", function, size);
  memcpy(before, args, size);
  memcpy(before + size, &fx.host, sizeof fx.host);
  memset(&err, CANARY, sizeof err);
  err.struct_size = sizeof err;
  status = call(args, &err);
  if (status == HALO_OK) FAIL("%s, %s: accepted", function, what);
  if (status == HALO_E_PANIC) FAIL("%s, %s: %s", function, what, err.message);
  if (known_valid && !(statuses & ONE(status)))
    FAIL("%s, %s: %s: %s", function, what, halo_status_name(status), err.message);
  check_record(what, &err, status, argument);
  blind = call(args, NULL);
  if (blind != status) FAIL("%s, %s: %d without a record, %d with one", function, what, blind, status);
  if (memcmp(before, args, size) != 0) FAIL("%s, %s: an argument was written", function, what);
  if (memcmp(before + size, &fx.host, sizeof fx.host) != 0) FAIL("%s, %s: the host's memory was written", function, what);
  refused++;
}

void shorter(const char *what, gate_call call, void *args, void *record, size_t known, size_t whole) {
  uint32_t *struct_size = record, full = *struct_size;
  unsigned char *end = (unsigned char *)record;
  halo_error err;
  halo_status status;
  *struct_size = (uint32_t)known;
  memcpy(before, end + known, whole - known);
  HALO_INIT(err);
  status = call(args, &err);
  if (status == HALO_E_PANIC || status == HALO_E_ABI) FAIL("%s, %s: %s", function, what, err.message);
  if (memcmp(before, end + known, whole - known) != 0) FAIL("%s, %s: written beyond struct_size %zu", function, what, known);
  if (*struct_size != known) FAIL("%s, %s: struct_size was written", function, what);
  *struct_size = full;
  accepted++;
}

/* A call from inside a call that holds the handle. */
typedef struct {
  gate_call call;
  void *args;
  size_t size;
  int argument;
} held;

static void *from_another_thread(void *user) {
  held *it = user;
  refuse("held by another thread", it->call, it->args, it->size, it->argument, ONE(HALO_E_BUSY));
  return NULL;
}

static void from_inside(void *user) {
  held *it = user;
  pthread_t thread;
  refuse("held by its own callback", it->call, it->args, it->size, it->argument, ONE(HALO_E_REENTRANT));
  if (pthread_create(&thread, NULL, from_another_thread, user) != 0) FAIL("no second thread");
  pthread_join(thread, NULL);
}

hold_fn gate_hold(void) {
  return (hold_fn)(void (*)(void))halo_proc_find("halo_handle_hold");
}

int hooks(void) {
  return gate_hold() != NULL;
}

void refuse_held(void *handle, gate_call call, void *args, size_t size, int argument) {
  held it;
  halo_error err;
  it.call = call;
  it.args = args;
  it.size = size;
  it.argument = argument;
  HALO_INIT(err);
  if (gate_hold()(handle, from_inside, &it, &err) != HALO_OK) FAIL("%s: %s", function, err.message);
}

void poison(void *handle) {
  halo_error err;
  HALO_INIT(err);
  if (gate_hold()(handle, NULL, NULL, &err) != HALO_E_PANIC) FAIL("a panic came out as %d", err.code);
  if (strstr(err.message, "a test wanted this") == NULL) FAIL("the panic's words are lost: %s", err.message);
}

void gate_report(void) {
  printf("%u calls accepted, %u refused", accepted, refused);
}

void gate_watch(int on) {
  /* ISO C has no cast from a pointer to a function: copied instead. */
  void *place = dlsym(RTLD_DEFAULT, "shim_watch");
  void (*watch)(int);
  memcpy(&watch, &place, sizeof watch);
  if (place != NULL) watch(on);
}
