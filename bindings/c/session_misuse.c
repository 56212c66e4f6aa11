/* What a session answers when it is used wrongly, stopped, or used in a forked child; and that it goes on as if nothing had been.
 *
 *   session_misuse MODEL DATA.jsonl FOLDER */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "halo.h"

static halo_error err;
static const char *model;

/* The call must end with this status. */
#define WANT(status, call) want(status, call, __LINE__)
static void want(halo_status wanted, halo_status got, int line) {
  if (wanted == got) return;
  fprintf(stderr, "line %d: wanted %s, got %s: %s\n", line, halo_status_name(wanted), halo_status_name(got),
          got == HALO_OK ? "" : err.message);
  exit(1);
}

#define EXPECT(truth) expect(truth, #truth, __LINE__)
static void expect(int truth, const char *what, int line) {
  if (truth) return;
  fprintf(stderr, "line %d: this is not so: %s (%s)\n", line, what, err.message);
  exit(1);
}

/* A configuration with these keys beside the model. */
static const char *config(const char *keys) {
  static char json[2048];
  snprintf(json, sizeof json, "{\"model\": \"%s\", \"per_device_train_batch_size\": 16%s%s}", model, *keys ? ", " : "", keys);
  return json;
}

static int32_t stop_text(void *user, const char *text, size_t len) {
  (void)user, (void)text;
  return len > 0 ? 9 : 0;
}

/* Calls back into the session that is at work. */
static int32_t call_back(void *user, const char *phase, uint64_t done, uint64_t total) {
  halo_session *session = *(halo_session **)user;
  halo_blob *json = NULL;
  (void)phase, (void)done, (void)total;
  WANT(HALO_E_REENTRANT, halo_session_metrics(session, &json, &err));
  WANT(HALO_E_REENTRANT, halo_session_train(session, NULL, &err));
  halo_session_free(session); /* nothing: it is in use */
  return 0;
}

static void configurations(void) {
  halo_session *session = NULL;
  WANT(HALO_E_NOT_FOUND, halo_session_new(config("\"learning_rat\": 1"), &session, &err));
  EXPECT(strstr(err.message, "did you mean \"learning_rate\"?") != NULL && err.argument == 0);
  WANT(HALO_E_NOT_FOUND, halo_session_new(config("\"loss\": \"kt0\""), &session, &err));
  EXPECT(strstr(err.message, "did you mean \"kto\"?") != NULL);
  WANT(HALO_E_NOT_FOUND, halo_session_new(config("\"loss_parameters\": {\"bta\": 1}"), &session, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_new(config("\"max_steps\": -1"), &session, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_new(config("\"learning_rate\": -1"), &session, &err));
  EXPECT(strcmp(err.site, "session.learning_rate") == 0);
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_new(config("\"precompute_ref_log_probs\": true"), &session, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_new("{}", &session, &err));
  WANT(HALO_E_FORMAT, halo_session_new("{", &session, &err));
  WANT(HALO_E_NOT_FOUND, halo_session_new("{\"model\": \"no/such/folder\"}", &session, &err));
  WANT(HALO_E_NOT_FOUND, halo_session_new(config("\"data\": [\"no-such.jsonl\"]"), &session, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_new(NULL, &session, &err));
  EXPECT(session == NULL);
}

static void before_data(halo_session *session, const halo_dataset *data) {
  halo_dataset *wrong = NULL;
  halo_record record;
  HALO_INIT(record);
  WANT(HALO_E_STATE, halo_session_train(session, NULL, &err));
  WANT(HALO_E_STATE, halo_session_evaluate(session, NULL, &err));
  WANT(HALO_E_STATE, halo_session_save(session, "nowhere", &err));
  WANT(HALO_E_STATE, halo_session_set(session, "lr", "1", &err));
  WANT(HALO_E_NOT_FOUND, halo_session_attach(session, "test", data, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_attach(session, "train", NULL, &err));
  EXPECT(err.argument == 2);
  /* The second record is not judged, which KTO needs. */
  WANT(HALO_OK, halo_dataset_new(&wrong, &err));
  record.prompt.data = record.completion.data = "a";
  record.prompt.len = record.completion.len = 1;
  record.label = 1;
  WANT(HALO_OK, halo_dataset_add(wrong, &record, &err));
  record.label = 0;
  WANT(HALO_OK, halo_dataset_add(wrong, &record, &err));
  WANT(HALO_E_DATA, halo_session_attach(session, "train", wrong, &err));
  EXPECT(err.example == 1);
  halo_dataset_free(wrong);
}

static void scores(halo_session *session) {
  int64_t offsets[] = {0, 4, 7}, back[] = {0, 4, 2};
  int32_t prompts[] = {2, 0}, longer[] = {5, 0}, tokens[] = {5, 6, 7, 8, 9, 10, 11}, unknown[] = {5, 6, 7, 8, 9, 1 << 30, 1};
  double sums[2], of_reference[2], each[5];
  WANT(HALO_OK, halo_session_score(session, 2, offsets, prompts, tokens, 0, sums, 2, &err));
  WANT(HALO_OK, halo_session_score(session, 2, offsets, prompts, tokens, HALO_SCORE_REFERENCE, of_reference, 2, &err));
  EXPECT(memcmp(sums, of_reference, sizeof sums) == 0); /* nothing is trained yet */
  WANT(HALO_OK, halo_session_score(session, 2, offsets, prompts, tokens, HALO_SCORE_TOKENS, each, 5, &err));
  EXPECT(each[2] == 0.0 && each[0] < 0.0 && each[4] < 0.0);
  EXPECT(fabs(each[0] + each[1] - sums[0]) < 1e-9 && fabs(each[3] + each[4] - sums[1]) < 1e-9);
  WANT(HALO_E_SHAPE, halo_session_score(session, 2, offsets, prompts, tokens, 0, each, 5, &err));
  WANT(HALO_E_UNSUPPORTED, halo_session_score(session, 2, offsets, prompts, tokens, 8, sums, 2, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_score(session, 2, back, prompts, tokens, 0, sums, 2, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_score(session, 2, offsets, longer, tokens, 0, sums, 2, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_score(session, 2, offsets, prompts, unknown, 0, sums, 2, &err));
  EXPECT(err.example == 1);
  WANT(HALO_OK, halo_session_score(session, 0, NULL, NULL, NULL, 0, NULL, 0, &err));
}

static void text(halo_session *session) {
  halo_blob *blob = NULL, *whole = NULL;
  halo_run run;
  size_t len, more;
  HALO_INIT(run);
  run.text = stop_text;
  WANT(HALO_E_CANCELLED, halo_session_generate(session, "List a colour and a drink.", 26, "{\"seed\": 3}", &run, &blob, &err));
  EXPECT(err.host_code == 9 && blob == NULL);
  WANT(HALO_E_NOT_FOUND, halo_session_generate(session, "a", 1, "{\"temprature\": 1}", NULL, &blob, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_generate(session, "a", 1, "{\"top_p\": 2}", NULL, &blob, &err));
  WANT(HALO_E_FORMAT, halo_session_generate(session, "\xff", 1, NULL, NULL, &blob, &err));
  WANT(HALO_OK, halo_session_tokenize(session, "List a", 6, 0, &whole, &err));
  WANT(HALO_OK, halo_session_tokenize(session, " drink", 6, HALO_TOKENIZE_CONTINUATION, &blob, &err));
  halo_blob_data(whole, &len), halo_blob_data(blob, &more);
  EXPECT(len > 0 && more > 0 && len % 4 == 0 && more % 4 == 0);
  halo_blob_free(whole);
  halo_blob_free(blob);
}

/* What a forked child may do: nothing with the parent's session, everything with one of its own. */
static void forked(halo_session *session) {
  int status = 1;
  pid_t child = fork();
  if (child == 0) {
    halo_blob *json = NULL;
    halo_session *own = NULL;
    alarm(60);
    WANT(HALO_E_STATE, halo_session_metrics(session, &json, &err));
    WANT(HALO_E_STATE, halo_session_train(session, NULL, &err));
    WANT(HALO_OK, halo_session_new(config(""), &own, &err));
    scores(own);
    halo_session_free(own);
    _exit(0);
  }
  EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

static void damage(const char *path) {
  FILE *file = fopen(path, "r+b");
  EXPECT(file != NULL && fwrite("not JSON", 8, 1, file) == 1 && fclose(file) == 0);
}

static void checkpoints(halo_session *session, const char *folder) {
  char path[1024], json[1100];
  halo_blob *before = NULL, *after = NULL;
  halo_run run;
  HALO_INIT(run);
  run.max_steps = 1;
  snprintf(path, sizeof path, "%s/checkpoint", folder);
  WANT(HALO_OK, halo_session_save(session, path, &err));
  WANT(HALO_OK, halo_session_evaluate(session, NULL, &err));
  WANT(HALO_OK, halo_session_metrics(session, &before, &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_save(session, folder, &err));
  WANT(HALO_E_NOT_FOUND, halo_session_load(session, folder, &err));
  snprintf(json, sizeof json, "%s/halo.json", path);
  damage(json);
  WANT(HALO_E_STATE, halo_session_load(session, path, &err));
  WANT(HALO_OK, halo_session_evaluate(session, NULL, &err));
  WANT(HALO_OK, halo_session_metrics(session, &after, &err));
  EXPECT(strcmp(halo_blob_data(before, NULL), halo_blob_data(after, NULL)) == 0);
  halo_blob_free(before);
  halo_blob_free(after);

  /* A rate that was set is in the checkpoint. */
  WANT(HALO_E_NOT_FOUND, halo_session_set(session, "beta", "1", &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_set(session, "lr", "-1", &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_set(session, "lr", "\"fast\"", &err));
  WANT(HALO_OK, halo_session_set(session, "lr", "0.25", &err));
  WANT(HALO_OK, halo_session_save(session, path, &err));
  WANT(HALO_OK, halo_session_set(session, "lr", "0.5", &err));
  WANT(HALO_OK, halo_session_load(session, path, &err));
  WANT(HALO_OK, halo_session_train(session, &run, &err));
  WANT(HALO_OK, halo_session_metrics(session, &after, &err));
  EXPECT(strstr(halo_blob_data(after, NULL), "\"learning_rate\":0.25,") != NULL);
  halo_blob_free(after);
  WANT(HALO_E_NOT_FOUND, halo_session_export(session, "nowhere", "gguf", &err));
  WANT(HALO_E_STATE, halo_session_export(session, "nowhere", "peft", &err));
  WANT(HALO_E_INVALID_ARGUMENT, halo_session_export(session, folder, "hf", &err));
}

int main(int argc, char **argv) {
  halo_dataset *data = NULL;
  halo_session *session = NULL;
  halo_cancel *cancel = NULL;
  halo_run run;
  HALO_INIT(err);
  HALO_INIT(run);
  if (argc != 4) return 2;
  model = argv[1];
  configurations();
  WANT(HALO_OK, halo_dataset_new(&data, &err));
  WANT(HALO_OK, halo_dataset_load(data, argv[2], NULL, &err));
  WANT(HALO_OK, halo_session_new(config("\"max_steps\": 4, \"lr_scheduler_type\": \"constant\""), &session, &err));
  before_data(session, data);
  scores(session);
  text(session);
  WANT(HALO_OK, halo_session_attach(session, "train", data, &err));
  WANT(HALO_E_STATE, halo_session_attach(session, "train", data, &err));
  WANT(HALO_OK, halo_session_attach(session, "eval", data, &err));
  halo_dataset_free(data);

  WANT(HALO_OK, halo_cancel_new(&cancel, &err));
  run.cancel = cancel;
  halo_cancel_request(cancel);
  WANT(HALO_E_CANCELLED, halo_session_train(session, &run, &err));
  WANT(HALO_E_CANCELLED, halo_session_evaluate(session, &run, &err));
  halo_cancel_reset(cancel);
  run.flags = 1;
  WANT(HALO_E_UNSUPPORTED, halo_session_train(session, &run, &err));
  run.flags = 0;
  run.max_steps = 1;
  run.progress = call_back;
  run.user = &session;
  WANT(HALO_OK, halo_session_train(session, &run, &err));
  halo_cancel_free(cancel);
  checkpoints(session, argv[3]);
  forked(session);
  WANT(HALO_OK, halo_session_train(session, NULL, &err));
  halo_session_free(session);
  halo_session_free(NULL);
  printf("sessions keep their word: wrong calls, stops, damaged checkpoints, forks\n");
  return 0;
}
