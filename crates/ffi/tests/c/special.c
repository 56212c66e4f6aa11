/* What is wrong in ways that only one function knows: names, keys, numbers, groups; and the record of the failure itself. */
#include "gate.h"

#include <math.h>

static halo_error err;

/* The last call's status, and what its record must say. */
static void failed(halo_status status, halo_status expected, int argument, int64_t example, const char *words) {
  if (status != expected) FAIL("%s instead of %s: %s", halo_status_name(status), halo_status_name(expected), err.message);
  if (err.argument != argument) FAIL("argument %d instead of %d: %s", err.argument, argument, err.message);
  if (err.example != example) FAIL("example %d instead of %d: %s", (int)err.example, (int)example, err.message);
  if (strstr(err.message, words) == NULL) FAIL("\"%s\" is not in: %s", words, err.message);
}

static void names(void) {
  halo_loss *loss = NULL;
  halo_refpoint *point = NULL;
  failed(halo_loss_new("kt0", NULL, &loss, &err), HALO_E_NOT_FOUND, 0, -1, "did you mean \"kto\"");
  failed(halo_loss_new("kto", "{\"bta\": 1}", &loss, &err), HALO_E_NOT_FOUND, 1, -1, "beta");
  failed(halo_loss_new("kto", "{\"beta\": -1}", &loss, &err), HALO_E_INVALID_ARGUMENT, 1, -1, "-1");
  CHECK(strcmp(err.site, "loss.beta") == 0);
  failed(halo_loss_new("kto", "{\"beta\": 1e999}", &loss, &err), HALO_E_FORMAT, 1, -1, "params_json");
  failed(halo_loss_new("kto", "{\"beta\": \"high\"}", &loss, &err), HALO_E_INVALID_ARGUMENT, 1, -1, "beta");
  failed(halo_loss_new("kto", "[1]", &loss, &err), HALO_E_FORMAT, 1, -1, "params_json");
  failed(halo_loss_new("kto", "{\"beta\": 0.1", &loss, &err), HALO_E_FORMAT, 1, -1, "params_json");
  failed(halo_loss_new("", NULL, &loss, &err), HALO_E_NOT_FOUND, 0, -1, "known");
  failed(halo_refpoint_new("mismatched", NULL, &point, &err), HALO_E_NOT_FOUND, 0, -1, "mismatch");
  failed(halo_refpoint_new("ema", "{\"deca\": 0.5}", &point, &err), HALO_E_NOT_FOUND, 1, -1, "deca");
  failed(halo_refpoint_new("ema", "{\"decay\": 1.5}", &point, &err), HALO_E_INVALID_ARGUMENT, 1, -1, "decay");
  CHECK(loss == NULL && point == NULL);
  CHECK(halo_loss_new("kto", "", &loss, &err) == HALO_OK);
  halo_loss_free(loss);
  CHECK(strcmp(halo_status_name(HALO_E_SHAPE), "HALO_E_SHAPE") == 0 && strcmp(halo_status_name(-7), "unknown") == 0);
  CHECK(halo_feature_has("no such thing") == 0 && halo_feature_has("head.f32") == 1);
  CHECK(halo_proc_find("no such thing") == NULL);
  failed(halo_version_check(HALO_ABI_VERSION + 1, &err), HALO_E_ABI, 0, -1, "compiled for");
  failed(halo_version_check(HALO_ABI_VERSION + 0x10000, &err), HALO_E_ABI, 0, -1, "compiled for");
}

/* Evaluates the fixture's batch; nothing is written on failure, whatever the reason. */
static halo_status evaluate(const halo_loss *loss) {
  unsigned char before[sizeof fx.host];
  halo_status status;
  memcpy(before, &fx.host, sizeof before);
  status = halo_loss_evaluate(loss, &fx.host.batch, &fx.host.result, &err);
  if (status != HALO_OK) CHECK(memcmp(before, &fx.host, sizeof before) == 0);
  return status;
}

static void numbers(void) {
  const double bad[3] = {NAN, INFINITY, -INFINITY};
  int i;
  fx.host.batch.refpoint = NULL;
  for (i = 0; i < 3; i++) {
    fx.host.logp[2] = bad[i];
    failed(evaluate(fx.loss), HALO_E_NONFINITE, 1, 2, "logp");
    fx.host.logp[2] = -12.0;
    fx.host.ref_logp[3] = bad[i];
    failed(evaluate(fx.loss), HALO_E_NONFINITE, 1, 3, "logp");
    fx.host.ref_logp[3] = -11.0;
    fx.host.logp[5] = bad[i];
    failed(halo_refpoint_accumulate(fx.point, &fx.host.batch, fx.host.numbers, 2, &err), HALO_E_NONFINITE, 1, 5, "logp");
    fx.host.logp[5] = -15.0;
    fx.host.numbers[1] = bad[i];
    failed(halo_refpoint_finish(fx.point, fx.host.numbers, 2, &fx.host.value, &err), HALO_E_NONFINITE, 1, -1, "acc[1]");
    fx.host.numbers[1] = 0.0;
    fx.host.batch.global_count = bad[i];
    failed(evaluate(fx.loss), HALO_E_INVALID_ARGUMENT, 1, -1, "global_count");
    fx.host.batch.global_count = 0.0;
    fx.host.batch.common_refpoint = bad[i];
    CHECK(evaluate(fx.loss) != HALO_OK);
    fx.host.batch.common_refpoint = 0.0;
  }
  fx.host.batch.global_count = -1.0;
  failed(evaluate(fx.loss), HALO_E_INVALID_ARGUMENT, 1, -1, "global_count");
  fx.host.batch.global_count = 0.0;
}

static void rows(void) {
  halo_loss *dpo = NULL;
  uint64_t group[8] = {1, 1, 2, 2, 3, 3, 4, 4};
  fx.host.batch.dtype = 0;
  failed(evaluate(fx.loss), HALO_E_DTYPE, 1, -1, "HALO_F32 or HALO_F64");
  fx.host.batch.dtype = HALO_F64;
  fx.host.batch.label = NULL;
  failed(evaluate(fx.loss), HALO_E_INVALID_ARGUMENT, 1, -1, "label");
  fx.host.batch.label = fx.host.label;
  fx.host.label[6] = 0;
  failed(evaluate(fx.loss), HALO_E_INVALID_ARGUMENT, 1, 6, "label");
  fx.host.label[6] = 1;
  fx.host.role[7] = 9;
  failed(evaluate(fx.loss), HALO_E_UNSUPPORTED, 1, 7, "role");
  fx.host.role[7] = HALO_ROLE_MISMATCH;
  fx.host.offsets[4] = 3;
  failed(evaluate(fx.loss), HALO_E_SHAPE, 1, 3, "offsets");
  fx.host.offsets[4] = 8;
  fx.host.offsets[0] = 1;
  failed(evaluate(fx.loss), HALO_E_SHAPE, 1, 0, "offsets[0]");
  fx.host.offsets[0] = 0;
  fx.host.batch.offsets = NULL;
  failed(evaluate(fx.loss), HALO_E_INVALID_ARGUMENT, 1, -1, "offsets");
  fx.host.batch.offsets = fx.host.offsets;
  fx.host.result.metric_count = 3;
  failed(evaluate(fx.loss), HALO_E_SHAPE, 2, -1, "metric_count");
  fx.host.result.metric_count = 0;
  CHECK(halo_loss_new("dpo", NULL, &dpo, &err) == HALO_OK);
  fx.host.batch.group = group;
  CHECK(evaluate(dpo) == HALO_OK);
  fx.host.label[1] = 1; /* two chosen ones */
  CHECK(evaluate(dpo) == HALO_E_DATA && err.example >= 0);
  fx.host.label[1] = -1;
  group[3] = 5; /* nobody to compare with */
  CHECK(evaluate(dpo) == HALO_E_DATA && err.example >= 0);
  group[3] = 2;
  fx.host.batch.group = NULL;
  halo_loss_free(dpo);
  /* A rank may hold no example at all. */
  fx.host.batch.rows = 0;
  fx.host.batch.dtype = 0;
  fx.host.result.loss = 5.0;
  CHECK(evaluate(fx.loss) == HALO_OK && fx.host.result.loss == 0.0);
  fx.host.batch.rows = 8;
  fx.host.batch.dtype = HALO_F64;
}

static void states(void) {
  halo_refpoint *point = NULL;
  const char *other = "{\"format\":\"halo.refpoint\",\"version\":1,\"name\":\"ema\",\"memory\":[]}";
  const char *unlike = "{\"format\":\"halo.refpoint\",\"version\":9,\"name\":\"mismatch\",\"memory\":[]}";
  CHECK(halo_refpoint_new("mismatch", NULL, &point, &err) == HALO_OK);
  failed(halo_refpoint_apply(point, &fx.host.batch, fx.host.numbers, 8, &err), HALO_E_STATE, 0, -1, "halo_refpoint_finish");
  failed(halo_refpoint_apply(fx.point, &fx.host.batch, fx.host.numbers, 7, &err), HALO_E_SHAPE, 3, -1, "8 rows");
  failed(halo_refpoint_load(point, "rubbish", 7, &err), HALO_E_FORMAT, 1, -1, "saved reference point");
  failed(halo_refpoint_load(point, other, strlen(other), &err), HALO_E_STATE, 1, -1, "ema");
  failed(halo_refpoint_load(point, unlike, strlen(unlike), &err), HALO_E_FORMAT, 1, -1, "version 9");
  halo_refpoint_free(point);
}

/* The record of any header's size: written as far as it goes, its text ends, and nothing behind it is touched. */
static void records(void) {
  halo_error record;
  unsigned char *bytes = (unsigned char *)&record;
  halo_loss *loss = NULL;
  size_t size, at;
  for (size = 0; size <= sizeof record; size++) {
    memset(&record, CANARY, sizeof record);
    record.struct_size = (uint32_t)size;
    CHECK(halo_loss_new("kt0", NULL, &loss, &record) == HALO_E_NOT_FOUND);
    CHECK(record.struct_size == size);
    for (at = size < 4 ? 4 : size; at < sizeof record; at++) CHECK(bytes[at] == CANARY);
    if (size >= 8) CHECK(record.code == HALO_E_NOT_FOUND);
    if (size > offsetof(halo_error, site)) CHECK(memchr(record.site, 0, size - offsetof(halo_error, site)) != NULL);
    if (size > offsetof(halo_error, message)) CHECK(memchr(record.message, 0, size - offsetof(halo_error, message)) != NULL);
  }
  CHECK(halo_loss_new("kt0", NULL, &loss, NULL) == HALO_E_NOT_FOUND);
  CHECK(halo_loss_new("kt0", NULL, &loss, (halo_error *)(void *)(bytes + 1)) == HALO_E_NOT_FOUND);
  CHECK(loss == NULL);
}

/* Settings of all calls, before the first of them works. */
static void runtime(void) {
  struct {
    halo_runtime it;
    uint32_t tail[2];
  } longer;
  HALO_INIT(longer.it);
  longer.tail[0] = longer.tail[1] = 0;
  longer.it.struct_size = sizeof longer;
  longer.it.threads = 2;
  CHECK(halo_runtime_configure(&longer.it, &err) == HALO_OK);
  longer.tail[1] = 1;
  failed(halo_runtime_configure(&longer.it, &err), HALO_E_UNSUPPORTED, 0, -1, "does not know");
  longer.it.struct_size = 4;
  failed(halo_runtime_configure(&longer.it, &err), HALO_E_ABI, 0, -1, "HALO_INIT");
  failed(halo_runtime_configure(NULL, &err), HALO_E_INVALID_ARGUMENT, 0, -1, "NULL");
}

static void too_late(void) {
  halo_runtime options;
  HALO_INIT(options);
  failed(halo_runtime_configure(&options, &err), HALO_E_STATE, 0, -1, "first work");
}

int main(void) {
  HALO_INIT(err);
  runtime();
  fixture_open();
  too_late();
  names();
  numbers();
  rows();
  states();
  records();
  fixture_close();
  printf("names, numbers, rows, states and records: as documented\n");
  return 0;
}
