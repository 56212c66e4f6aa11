/* KTO from C: the value of a loss and its gradient, for a host that has log-probabilities and does the rest itself. */
#include <stdio.h>

#include "halo.h"

int main(void) {
  /* Four answers, and the same prompts with other prompts' answers, which say how far the policy has moved (z0). */
  double logp[8] = {-20.0, -18.0, -31.5, -9.0, -40.0, -38.0, -52.0, -41.5};
  double ref_logp[8] = {-22.0, -17.0, -30.0, -9.5, -41.0, -38.5, -51.0, -43.0};
  int8_t label[8] = {1, -1, 1, -1, 1, -1, 1, -1};
  uint8_t role[8] = {0, 0, 0, 0, 1, 1, 1, 1};
  double gradient[8], acc[2] = {0.0, 0.0};
  halo_loss *loss = NULL;
  halo_refpoint *point = NULL;
  halo_batch batch;
  halo_loss_result result;
  halo_refpoint_value z0;
  halo_error err;
  halo_status s;
  int i;

  HALO_INIT(err);
  HALO_INIT(batch);
  HALO_INIT(result);
  HALO_INIT(z0);
  batch.dtype = HALO_F64;
  batch.rows = 8;
  batch.label = label;
  batch.role = role;
  batch.logp = logp;
  batch.ref_logp = ref_logp;
  result.d_logp = gradient;

  s = halo_version_check(HALO_ABI_VERSION, &err);
  if (s == HALO_OK) s = halo_loss_new("kto", "{\"beta\": 0.1}", &loss, &err);
  if (s == HALO_OK) s = halo_refpoint_of_loss(loss, &point, &err);
  /* With several ranks: sum acc over them here, once a step. */
  if (s == HALO_OK) s = halo_refpoint_accumulate(point, &batch, acc, 2, &err);
  if (s == HALO_OK) s = halo_refpoint_finish(point, acc, 2, &z0, &err);
  if (s == HALO_OK) {
    batch.common_refpoint = z0.value;
    s = halo_loss_evaluate(loss, &batch, &result, &err);
  }
  if (s == HALO_OK) {
    printf("z0 = %.12g\nloss = %.12g\n", z0.value, result.loss);
    for (i = 0; i < 4; i++) printf("d loss / d logp[%d] = %.12g\n", i, gradient[i]);
  } else {
    fprintf(stderr, "%s: %s\n", err.site, err.message);
  }
  halo_refpoint_free(point);
  halo_loss_free(loss);
  return s;
}
