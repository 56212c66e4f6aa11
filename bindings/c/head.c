/* A host with hidden states and an output matrix of its own: log-probabilities, a loss of them, and the way back, without a
 * buffer of tokens by vocabulary. Every gradient is held to a finite difference. */
#include <math.h>
#include <stdio.h>

#include "halo.h"

enum { SEQUENCES = 4, TOKENS = 9, HIDDEN = 5, WORDS = 300 };

static float hidden[TOKENS * HIDDEN], weight[WORDS * HIDDEN];
static float d_hidden[TOKENS * HIDDEN], d_weight[WORDS * HIDDEN];
static float logp[TOKENS], lse[TOKENS], d_logp[TOKENS];
static float ref_logp[TOKENS] = {-5.8f, -5.6f, -6.0f, -5.7f, -5.9f, 0.0f, -5.5f, -6.1f, -5.7f};
/* Token 5 is padding: it is skipped. */
static int64_t targets[TOKENS] = {3, 299, 0, 17, 120, -1, 255, 256, 41};
static int64_t offsets[SEQUENCES + 1] = {0, 2, 3, 6, 9};
static uint8_t mask[TOKENS] = {1, 1, 1, 1, 1, 0, 1, 1, 1};
static int8_t label[SEQUENCES] = {1, -1, 1, -1};
static halo_error err;

/* A view of memory that stays ours; strides of NULL say that there are no gaps. */
static DLTensor view(void *data, uint8_t code, uint8_t bits, int64_t *shape, int32_t ndim) {
  DLTensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.device.device_type = kDLCPU;
  tensor.dtype.code = code;
  tensor.dtype.bits = bits;
  tensor.dtype.lanes = 1;
  tensor.ndim = ndim;
  tensor.shape = shape;
  return tensor;
}

/* The loss of what hidden and weight hold; with `back` also its gradients. */
static halo_status evaluate(const halo_loss *loss, int back, double *value) {
  int64_t hidden_shape[2] = {TOKENS, HIDDEN}, weight_shape[2] = {WORDS, HIDDEN}, column_shape[1] = {TOKENS};
  DLTensor h = view(hidden, kDLFloat, 32, hidden_shape, 2);
  DLTensor w = view(weight, kDLFloat, 32, weight_shape, 2);
  DLTensor dh = view(d_hidden, kDLFloat, 32, hidden_shape, 2);
  DLTensor dw = view(d_weight, kDLFloat, 32, weight_shape, 2);
  DLTensor target = view(targets, kDLInt, 64, column_shape, 1);
  DLTensor lp = view(logp, kDLFloat, 32, column_shape, 1);
  DLTensor total = view(lse, kDLFloat, 32, column_shape, 1);
  DLTensor dlp = view(d_logp, kDLFloat, 32, column_shape, 1);
  halo_head head;
  halo_head_stats stats;
  halo_head_grads grads;
  halo_batch batch;
  halo_loss_result result;
  halo_status s;

  HALO_INIT(head);
  HALO_INIT(stats);
  HALO_INIT(grads);
  HALO_INIT(batch);
  HALO_INIT(result);
  head.hidden = &h;
  head.weight = &w;
  head.targets = &target;
  head.temperature = 0.8;
  head.softcap = 4.0;
  stats.logp = &lp;
  stats.lse = &total;
  batch.dtype = HALO_F32;
  batch.rows = SEQUENCES;
  batch.label = label;
  batch.offsets = offsets;
  batch.token_mask = mask;
  batch.token_logp = logp;
  batch.token_ref_logp = ref_logp;
  batch.common_refpoint = 0.05;
  result.d_token_logp = d_logp;
  grads.d_logp = &dlp;
  grads.d_hidden = &dh;
  grads.d_weight = &dw;

  s = halo_head_forward(&head, &stats, NULL, &err);
  if (s == HALO_OK) s = halo_loss_evaluate(loss, &batch, &result, &err);
  if (s == HALO_OK && back) s = halo_head_backward(&head, &stats, &grads, NULL, &err);
  *value = result.loss;
  return s;
}

/* The largest distance between a gradient and the central differences of what it is a gradient of, over the largest slope. */
static double worst(const halo_loss *loss, float *x, const float *gradient, int count) {
  double off = 0.0, size = 0.0, up = 0.0, down = 0.0;
  int i;
  for (i = 0; i < count; i++) {
    const float old = x[i], step = 0.01f;
    x[i] = old + step;
    if (evaluate(loss, 0, &up) != HALO_OK) return HUGE_VAL;
    x[i] = old - step;
    if (evaluate(loss, 0, &down) != HALO_OK) return HUGE_VAL;
    x[i] = old;
    off = fmax(off, fabs((up - down) / (2.0 * step) - gradient[i]));
    size = fmax(size, fabs(gradient[i]));
  }
  return off / size;
}

int main(void) {
  halo_loss *loss = NULL;
  double value = 0.0, by_hidden = HUGE_VAL, by_weight = HUGE_VAL;
  halo_status s;
  int i;

  HALO_INIT(err);
  for (i = 0; i < TOKENS * HIDDEN; i++) hidden[i] = (float)sin(1.0 + 3.7 * i);
  for (i = 0; i < WORDS * HIDDEN; i++) weight[i] = (float)cos(2.0 + 1.3 * i * i);

  s = halo_version_check(HALO_ABI_VERSION, &err);
  if (s == HALO_OK) s = halo_loss_new("kto", "{\"beta\": 0.5}", &loss, &err);
  if (s == HALO_OK) s = evaluate(loss, 1, &value);
  if (s == HALO_OK) {
    by_hidden = worst(loss, hidden, d_hidden, TOKENS * HIDDEN);
    by_weight = worst(loss, weight, d_weight, WORDS * HIDDEN);
    printf("loss = %.6f\nd_hidden is off by %.1e, d_weight by %.1e\n", value, by_hidden, by_weight);
  }
  if (s != HALO_OK) fprintf(stderr, "%s: %s\n", err.site, err.message);

  /* A word that is none is refused by its row, and nothing is written. */
  targets[4] = WORDS;
  lse[0] = 7.0f;
  if (s == HALO_OK && (evaluate(loss, 0, &value) != HALO_E_INVALID_ARGUMENT || err.example != 4 || lse[0] != 7.0f)) s = 1;
  halo_loss_free(loss);
  /* f32 keeps about four digits of a difference. */
  return s == HALO_OK && by_hidden < 1e-3 && by_weight < 1e-3 ? 0 : 1;
}
