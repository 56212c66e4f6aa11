/* A program of an older header: its structs end earlier, its record of errors is short. Its declarations are its own. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  uint32_t struct_size;
  int32_t code, argument, host_code;
  int64_t example;
  char site[32];
} old_error;
typedef struct {
  uint32_t struct_size, dtype;
  size_t rows;
  const int8_t *label;
  const uint8_t *role;
  const uint64_t *group;
  const int32_t *tokens;
  const void *logp, *ref_logp;
} old_batch;
typedef struct {
  uint32_t struct_size, reserved;
  double loss;
  void *d_logp;
} old_result;
typedef struct halo_loss halo_loss;

int32_t halo_version_check(uint32_t header, old_error *err);
int32_t halo_loss_new(const char *name, const char *params_json, halo_loss **out, old_error *err);
int32_t halo_loss_evaluate(const halo_loss *loss, const old_batch *batch, old_result *result, old_error *err);
void halo_loss_free(halo_loss *loss);

int main(void) {
  const double logp[4] = {-20.0, -18.0, -31.5, -9.0}, ref_logp[4] = {-22.0, -17.0, -30.0, -9.5};
  const int8_t label[4] = {1, -1, 1, -1};
  double gradient[4] = {0.0, 0.0, 0.0, 0.0};
  /* What lies behind the structs is the program's own. */
  struct { old_error it; uint64_t behind[80]; } err;
  struct { old_batch it; uint64_t behind[80]; } batch;
  struct { old_result it; uint64_t behind[80]; } result;
  uint64_t rubbish[80];
  halo_loss *loss = NULL;
  int32_t status;
  memset(rubbish, 0x5a, sizeof rubbish);
  memset(&err, 0x5a, sizeof err);
  memset(&batch, 0x5a, sizeof batch);
  memset(&result, 0x5a, sizeof result);
  memset(&err.it, 0, sizeof err.it);
  memset(&batch.it, 0, sizeof batch.it);
  memset(&result.it, 0, sizeof result.it);
  err.it.struct_size = sizeof err.it;
  batch.it.struct_size = sizeof batch.it;
  result.it.struct_size = sizeof result.it;
  batch.it.dtype = 2;
  batch.it.rows = 4;
  batch.it.label = label;
  batch.it.logp = logp;
  batch.it.ref_logp = ref_logp;
  result.it.d_logp = gradient;
  status = halo_version_check(1, &err.it); /* 0.1 */
  if (status == 0) status = halo_loss_new("kto", NULL, &loss, &err.it);
  if (status == 0) status = halo_loss_evaluate(loss, &batch.it, &result.it, &err.it);
  if (status != 0 || !(result.it.loss > 0.0 && result.it.loss < 2.0) || !(gradient[0] < 0.0 && gradient[1] > 0.0)) {
    fprintf(stderr, "an old client got status %d, %s, loss %g\n", (int)status, err.it.site, result.it.loss);
    return 1;
  }
  status = halo_loss_new("a name that is not known and whose site is cut where this record ends", NULL, &loss, &err.it);
  if (status != 7 || err.it.code != 7 || memchr(err.it.site, 0, sizeof err.it.site) == NULL) {
    fprintf(stderr, "an old client's record says %d, status %d\n", (int)err.it.code, (int)status);
    return 1;
  }
  if (memcmp(err.behind, rubbish, sizeof rubbish) != 0 || memcmp(batch.behind, rubbish, sizeof rubbish) != 0 ||
      memcmp(result.behind, rubbish, sizeof rubbish) != 0) {
    fprintf(stderr, "something was written behind an old client's structs\n");
    return 1;
  }
  halo_loss_free(loss);
  printf("a client of an older header gets loss %.12g\n", result.it.loss);
  return 0;
}
