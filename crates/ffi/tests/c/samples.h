/* Valid arguments for the generated calls: of a type (SAMPLE_halo_batch), or of one parameter (SAMPLE_<function>_<parameter>).
 * Without a sample a handle is NULL, text is empty, a number 0, a struct empty and any other place the fixture's own; the function
 * is then tried with what must be refused whatever else it is given, and the program names it. */
#ifndef SAMPLES_H
#define SAMPLES_H

#define SAMPLE_halo_loss fx.loss
#define SAMPLE_halo_refpoint fx.point
#define SAMPLE_halo_blob fx.blob
#define SAMPLE_halo_cancel fx.cancel
#define SAMPLE_halo_dataset fx.data
#define SAMPLE_halo_trainer fx.trainer
#define SAMPLE_halo_record fx.host.record
#define SAMPLE_halo_work fx.host.work
#define SAMPLE_halo_answer fx.host.answer
#define SAMPLE_halo_head fx.host.head
#define SAMPLE_halo_head_stats fx.host.stats
#define SAMPLE_halo_head_grads fx.host.grads
#define SAMPLE_halo_exec fx.host.exec
#define SAMPLE_halo_batch fx.host.batch
#define SAMPLE_halo_loss_result fx.host.result
#define SAMPLE_halo_refpoint_value fx.host.value

#define SAMPLE_halo_version_check_header HALO_ABI_VERSION
#define SAMPLE_halo_loss_new_name "kto"
#define SAMPLE_halo_loss_count_counts fx.host.numbers
#define SAMPLE_halo_loss_count_width 3
#define SAMPLE_halo_loss_summarize_metric_sums fx.host.numbers
#define SAMPLE_halo_loss_summarize_count halo_loss_metric_count(fx.loss)
#define SAMPLE_halo_refpoint_new_name "mismatch"
#define SAMPLE_halo_refpoint_accumulate_acc fx.host.numbers
#define SAMPLE_halo_refpoint_accumulate_width 2
#define SAMPLE_halo_refpoint_finish_acc fx.host.numbers
#define SAMPLE_halo_refpoint_finish_width 2
#define SAMPLE_halo_refpoint_apply_count 8
#define SAMPLE_halo_refpoint_load_data "{\"format\":\"halo.refpoint\",\"version\":1,\"name\":\"mismatch\",\"memory\":[]}"
#define SAMPLE_halo_refpoint_load_len (sizeof SAMPLE_halo_refpoint_load_data - 1)
#define SAMPLE_halo_dataset_add_json_line "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": true}"
#define SAMPLE_halo_dataset_add_json_len (sizeof SAMPLE_halo_dataset_add_json_line - 1)
#define SAMPLE_halo_trainer_new_world_size 1
#define SAMPLE_halo_trainer_attach_trainer fx.fresh
#define SAMPLE_halo_trainer_attach_role "train"
#define SAMPLE_halo_trainer_set_key "learning_rate"
#define SAMPLE_halo_trainer_set_value_json "1e-5"
#define SAMPLE_halo_trainer_load_data fx.saved_data
#define SAMPLE_halo_trainer_load_len fx.saved_len
#define SAMPLE_halo_pairing_draw_rows 8
#define SAMPLE_halo_pairing_draw_group fx.host.group

#endif
