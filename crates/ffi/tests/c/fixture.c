/* Valid arguments: four answers with a reference, four mismatched ones, their tokens; one handle of each type, a trainer in the
 * middle of its first step among them. */
#include "gate.h"

fixture fx;

static void must(halo_status status, const halo_error *err) {
  if (status != HALO_OK) FAIL("%s: %s", err->site, err->message);
}

/* Eight records of two tokens of prompt and two of completion. */
static halo_dataset *records(void) {
  static int32_t tokens[8][4];
  halo_dataset *data = NULL;
  halo_error err;
  int i;
  HALO_INIT(err);
  must(halo_dataset_new(&data, &err), &err);
  HALO_INIT(fx.host.record);
  fx.host.record.token_count = 4;
  fx.host.record.prompt_tokens = 2;
  for (i = 0; i < 8; i++) {
    tokens[i][0] = tokens[i][1] = i;
    tokens[i][2] = tokens[i][3] = 10 + i;
    fx.host.record.tokens = tokens[i];
    fx.host.record.label = i % 2 == 0 ? 1 : -1;
    must(halo_dataset_add(data, &fx.host.record, &err), &err);
  }
  return data;
}

static void train(void) {
  halo_error err;
  halo_dataset *attached = records();
  HALO_INIT(err);
  HALO_INIT(fx.host.work);
  HALO_INIT(fx.host.answer);
  must(halo_trainer_new(NULL, 0, 1, &fx.fresh, &err), &err);
  must(halo_trainer_new(NULL, 0, 1, &fx.trainer, &err), &err);
  must(halo_trainer_attach(fx.trainer, "train", attached, &err), &err);
  halo_dataset_free(attached); /* the trainer has its share */
  must(halo_trainer_save(fx.trainer, &fx.saved, &err), &err);
  fx.saved_data = halo_blob_data(fx.saved, &fx.saved_len);
  must(halo_trainer_next(fx.trainer, &fx.host.work, &err), &err);
  fx.host.answer.work_id = fx.host.work.id;
  fx.host.answer.dtype = HALO_F64;
  fx.host.answer.values = fx.host.numbers;
  fx.host.answer.value_count = fx.host.work.value_count;
}

static void tensor(DLTensor *it, void *data, int32_t dimensions, int64_t *shape, uint8_t code, uint8_t bits) {
  it->data = data;
  it->device.device_type = kDLCPU;
  it->ndim = dimensions;
  it->shape = shape;
  it->dtype.code = code;
  it->dtype.bits = bits;
  it->dtype.lanes = 1;
}

/* Four hidden states of width three, five words, all different. */
static void head(void) {
  int i;
  HALO_INIT(fx.host.head);
  HALO_INIT(fx.host.stats);
  HALO_INIT(fx.host.grads);
  HALO_INIT(fx.host.exec);
  fx.host.shapes[0][0] = 4;
  fx.host.shapes[1][0] = 5;
  fx.host.shapes[0][1] = fx.host.shapes[1][1] = 3;
  for (i = 0; i < 12; i++) fx.host.states[i / 3][i % 3] = 0.1f * (float)i;
  for (i = 0; i < 15; i++) fx.host.words[i / 3][i % 3] = 0.2f * (float)(i % 4);
  for (i = 0; i < 4; i++) {
    fx.host.target[i] = i;
    fx.host.per_row[0][i] = 2.0f; /* about ln of five */
    fx.host.per_row[1][i] = 1.0f;
  }
  tensor(&fx.host.hidden, fx.host.states, 2, fx.host.shapes[0], kDLFloat, 32);
  tensor(&fx.host.weight, fx.host.words, 2, fx.host.shapes[1], kDLFloat, 32);
  tensor(&fx.host.targets, fx.host.target, 1, fx.host.shapes[0], kDLInt, 64);
  tensor(&fx.host.lse, fx.host.per_row[0], 1, fx.host.shapes[0], kDLFloat, 32);
  tensor(&fx.host.d_logp, fx.host.per_row[1], 1, fx.host.shapes[0], kDLFloat, 32);
  tensor(&fx.host.d_hidden, fx.host.d_states, 2, fx.host.shapes[0], kDLFloat, 32);
  fx.host.head.hidden = &fx.host.hidden;
  fx.host.head.weight = &fx.host.weight;
  fx.host.head.targets = &fx.host.targets;
  fx.host.stats.lse = &fx.host.lse;
  fx.host.grads.d_logp = &fx.host.d_logp;
  fx.host.grads.d_hidden = &fx.host.d_hidden;
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
  for (i = 0; i < 8; i++) {
    fx.host.logp[i] = -10.0 - i;
    fx.host.ref_logp[i] = -11.0;
    fx.host.label[i] = i % 2 == 0 ? 1 : -1;
    fx.host.role[i] = i < 4 ? HALO_ROLE_SCORED : HALO_ROLE_MISMATCH;
    fx.host.offsets[i + 1] = 2 * (i + 1);
    fx.host.token_logp[2 * i] = fx.host.token_logp[2 * i + 1] = -1.0;
    fx.host.ones[2 * i] = fx.host.ones[2 * i + 1] = 1.0;
    fx.host.mask[2 * i] = fx.host.mask[2 * i + 1] = 1;
    fx.host.tokens[i] = 2;
    fx.host.group[i] = 1 + (uint64_t)i / 2;
  }
  fx.host.batch.dtype = HALO_F64;
  fx.host.batch.rows = 8;
  fx.host.batch.label = fx.host.label;
  fx.host.batch.role = fx.host.role;
  fx.host.batch.group = fx.host.group;
  fx.host.batch.tokens = fx.host.tokens;
  fx.host.batch.logp = fx.host.batch.old_logp = fx.host.logp;
  fx.host.batch.ref_logp = fx.host.ref_logp;
  fx.host.batch.reward = fx.host.batch.advantage = fx.host.numbers;
  fx.host.batch.weight = fx.host.batch.beta_scale = fx.host.ones;
  fx.host.batch.refpoint = fx.host.numbers;
  fx.host.batch.offsets = fx.host.offsets;
  fx.host.batch.token_mask = fx.host.mask;
  fx.host.batch.token_logp = fx.host.batch.token_ref_logp = fx.host.token_logp;
  fx.host.batch.token_old_logp = fx.host.batch.token_log_collision = fx.host.token_logp;
  fx.host.result.d_logp = fx.host.out.bytes;
  fx.host.result.metric_sums = (double *)(void *)(fx.host.out.bytes + 64);
  fx.host.result.metric_count = halo_loss_metric_count(NULL);
  must(halo_loss_new("kto", NULL, &fx.loss, &err), &err);
  must(halo_refpoint_of_loss(fx.loss, &fx.point, &err), &err);
  must(halo_loss_describe(fx.loss, &fx.blob, &err), &err);
  must(halo_cancel_new(&fx.cancel, &err), &err);
  fx.data = records();
  train();
  head();
  must(halo_refpoint_finish(fx.point, fx.host.numbers, 2, &fx.host.value, &err), &err);
}

void fixture_close(void) {
  halo_loss_free(fx.loss);
  halo_refpoint_free(fx.point);
  halo_blob_free(fx.blob);
  halo_blob_free(fx.saved);
  halo_cancel_free(fx.cancel);
  halo_dataset_free(fx.data);
  halo_trainer_free(fx.trainer);
  halo_trainer_free(fx.fresh);
}
