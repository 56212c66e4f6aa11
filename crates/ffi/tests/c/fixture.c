/* Valid arguments: four answers with a reference, four mismatched ones, their tokens, and one handle of each type. */
#include "gate.h"

fixture fx;

static void must(halo_status status, const halo_error *err) {
  if (status != HALO_OK) FAIL("%s: %s", err->site, err->message);
}

void fixture_open(void) {
  halo_error err;
  int i;
  HALO_INIT(err);
  memset(&fx, 0, sizeof fx);
  memset(&fx.host.out, CANARY, sizeof fx.host.out);
  HALO_INIT(fx.host.batch);
  HALO_INIT(fx.host.result);
  HALO_INIT(fx.host.value);
  HALO_INIT(fx.host.runtime);
  for (i = 0; i < 8; i++) {
    fx.host.logp[i] = -10.0 - i;
    fx.host.ref_logp[i] = -11.0;
    fx.host.label[i] = i % 2 == 0 ? 1 : -1;
    fx.host.role[i] = i < 4 ? HALO_ROLE_SCORED : HALO_ROLE_MISMATCH;
    fx.host.offsets[i + 1] = 2 * (i + 1);
    fx.host.token_logp[2 * i] = fx.host.token_logp[2 * i + 1] = -1.0;
  }
  fx.host.batch.dtype = HALO_F64;
  fx.host.batch.rows = 8;
  fx.host.batch.label = fx.host.label;
  fx.host.batch.role = fx.host.role;
  fx.host.batch.logp = fx.host.logp;
  fx.host.batch.ref_logp = fx.host.ref_logp;
  fx.host.batch.offsets = fx.host.offsets;
  fx.host.batch.token_logp = fx.host.token_logp;
  fx.host.batch.token_ref_logp = fx.host.token_logp;
  fx.host.result.d_logp = fx.host.out.bytes;
  fx.host.result.metric_sums = (double *)(void *)(fx.host.out.bytes + 64);
  fx.host.result.metric_count = halo_loss_metric_count(NULL);
  must(halo_loss_new("kto", NULL, &fx.loss, &err), &err);
  must(halo_refpoint_of_loss(fx.loss, &fx.point, &err), &err);
  must(halo_loss_describe(fx.loss, &fx.blob, &err), &err);
  must(halo_cancel_new(&fx.cancel, &err), &err);
  must(halo_refpoint_finish(fx.point, fx.host.numbers, 2, &fx.host.value, &err), &err);
}

void fixture_close(void) {
  halo_loss_free(fx.loss);
  halo_refpoint_free(fx.point);
  halo_blob_free(fx.blob);
  halo_cancel_free(fx.cancel);
}
