/* Data sets: what is taken, what is refused and why; in both builds. The second argument is a JSONL file of the full build. */
#include "check.h"

static halo_error err;

static halo_str text(const char *from) {
  halo_str made;
  made.data = from;
  made.len = strlen(from);
  return made;
}

static void records(void) {
  const int32_t tokens[4] = {1, 2, 3, 4}, wrong[2] = {1, -2};
  const double logps[2] = {-1.0, -2.0};
  halo_dataset *data = NULL;
  halo_record r;
  DONE(halo_dataset_new(&data, &err));
  HALO_INIT(r);
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_DATA, "neither tokens nor a completion");
  r.tokens = tokens;
  r.token_count = 4;
  r.prompt_tokens = 2;
  r.label = 1;
  r.id = text("first");
  DONE(halo_dataset_add(data, &r, &err));
  CHECK(halo_dataset_count(data) == 1);
  r.label = 2;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_INVALID_ARGUMENT, "label = 2");
  CHECK(err.example == 1 && err.argument == 1 && strcmp(err.site, "record.label") == 0);
  r.label = -1;
  r.prompt_tokens = 5;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_SHAPE, "prompt_tokens = 5 of 4");
  r.prompt_tokens = 4;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_DATA, "no token for the completion");
  r.prompt_tokens = 0;
  r.token_count = 1;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_DATA, "the first is context");
  r.token_count = 4;
  r.prompt_tokens = 2;
  r.weight = -1.0;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_INVALID_ARGUMENT, "negative");
  r.weight = 0.0;
  r.score = 0.0 / (halo_dataset_count(NULL) ? 1.0 : 0.0);
  DONE(halo_dataset_add(data, &r, &err)); /* without its flag a score is not looked at */
  r.flags = HALO_RECORD_SCORE;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_NONFINITE, "record.score");
  r.flags = 1u << 30;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_UNSUPPORTED, "flags");
  r.flags = 0;
  r.old_logps = logps;
  r.old_logp_count = 1;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_SHAPE, "1 old_logps for 2");
  r.old_logp_count = 2;
  DONE(halo_dataset_add(data, &r, &err));
  r.tokens = wrong;
  r.token_count = 2;
  r.prompt_tokens = 1;
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_INVALID_ARGUMENT, "token -2");
  r.tokens = tokens;
  r.completion = text("words");
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_INVALID_ARGUMENT, "tokens and text");
  REFUSED(halo_dataset_add(NULL, &r, &err), HALO_E_INVALID_ARGUMENT, "NULL");
  CHECK(halo_dataset_count(data) == 3);
  halo_dataset_free(data);
  halo_dataset_free(NULL);
}

/* The small build names the build that can. */
static void without_readers(void) {
  halo_dataset *data = NULL;
  halo_blob *json = NULL;
  halo_record r;
  DONE(halo_dataset_new(&data, &err));
  HALO_INIT(r);
  r.prompt = text("a");
  r.completion = text("b");
  REFUSED(halo_dataset_add(data, &r, &err), HALO_E_UNSUPPORTED, "feature \"session\"");
  REFUSED(halo_dataset_add_json(data, "{}", 2, &err), HALO_E_UNSUPPORTED, "feature \"session\"");
  REFUSED(halo_dataset_load(data, "x.jsonl", NULL, &err), HALO_E_UNSUPPORTED, "feature \"session\"");
  REFUSED(halo_dataset_diagnose(data, NULL, &json, &err), HALO_E_UNSUPPORTED, "feature \"session\"");
  CHECK(json == NULL && halo_dataset_count(data) == 0);
  halo_dataset_free(data);
}

static void with_readers(const char *file) {
  const char *line = "{\"prompt\": \"a\", \"chosen\": \"b c\", \"rejected\": \"d\"}", *wrong = "{\"prompt\": \"a\"}";
  const int32_t tokens[3] = {1, 2, 3};
  halo_dataset *data = NULL;
  halo_blob *json = NULL;
  halo_trainer *trainer = NULL;
  halo_record r;
  uint64_t all;
  DONE(halo_dataset_new(&data, &err));
  REFUSED(halo_dataset_load(data, "/nowhere.jsonl", NULL, &err), HALO_E_NOT_FOUND, "nowhere");
  REFUSED(halo_dataset_load(data, file, "{\"limt\": 2}", &err), HALO_E_NOT_FOUND, "did you mean \"limit\"?");
  DONE(halo_dataset_load(data, file, "{\"limit\": 2}", &err));
  CHECK(halo_dataset_count(data) == 2);
  DONE(halo_dataset_load(data, file, NULL, &err));
  all = halo_dataset_count(data);
  CHECK(all > 3);
  DONE(halo_dataset_add_json(data, line, strlen(line), &err));
  REFUSED(halo_dataset_add_json(data, wrong, strlen(wrong), &err), HALO_E_DATA, "`completion` is missing");
  CHECK(err.example == (int64_t)all + 1);
  HALO_INIT(r);
  r.prompt = text("a");
  r.completion = text("b");
  r.label = 1;
  r.group = 5;
  DONE(halo_dataset_add(data, &r, &err));
  r.completion = text("other words");
  r.label = -1;
  DONE(halo_dataset_add(data, &r, &err));
  CHECK(halo_dataset_count(data) == all + 3);
  REFUSED(halo_dataset_diagnose(data, "{\"nois\": 0.1}", &json, &err), HALO_E_NOT_FOUND, "noise");
  DONE(halo_dataset_diagnose(data, "{\"noise\": 0.1}", &json, &err));
  CHECK(strstr(halo_blob_data(json, NULL), "\"pairs\":2") != NULL);
  halo_blob_free(json);
  /* A trainer has no tokenizer. */
  DONE(halo_trainer_new(NULL, 0, 1, &trainer, &err));
  REFUSED(halo_trainer_attach(trainer, "train", data, &err), HALO_E_DATA, "tokenizer");
  DONE(halo_dataset_add(data, &r, &err)); /* what was refused is not attached */
  halo_dataset_free(data);
  /* Lines of token ids it can read, beside records. */
  DONE(halo_dataset_new(&data, &err));
  line = "{\"prompt_ids\": [4], \"completion_ids\": [5, 6], \"label\": 1}";
  DONE(halo_dataset_add_json(data, line, strlen(line), &err));
  HALO_INIT(r);
  r.tokens = tokens;
  r.token_count = 3;
  r.prompt_tokens = 1;
  r.label = -1;
  DONE(halo_dataset_add(data, &r, &err));
  DONE(halo_trainer_attach(trainer, "train", data, &err));
  halo_trainer_free(trainer);
  halo_dataset_free(data);
}

int main(int argc, char **argv) {
  records();
  if (halo_feature_has("session")) {
    CHECK(argc > 1);
    with_readers(argv[1]);
  } else {
    without_readers();
  }
  return checks_failed;
}
