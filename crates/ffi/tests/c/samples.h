/* Valid arguments for the generated calls: of a type (SAMPLE_halo_batch), or of one parameter (SAMPLE_<function>_<parameter>).
 * Without a sample a handle is NULL, text is empty, a number 0, a struct empty and any other place the fixture's own; the function
 * is then tried with what must be refused whatever else it is given, and the program names it. */
#ifndef SAMPLES_H
#define SAMPLES_H

#define SAMPLE_halo_loss fx.loss
#define SAMPLE_halo_refpoint fx.point
#define SAMPLE_halo_blob fx.blob
#define SAMPLE_halo_cancel fx.cancel
#define SAMPLE_halo_batch fx.host.batch
#define SAMPLE_halo_loss_result fx.host.result
#define SAMPLE_halo_refpoint_value fx.host.value
#define SAMPLE_halo_runtime fx.host.runtime

#define SAMPLE_halo_version_check_header HALO_ABI_VERSION
#define SAMPLE_halo_loss_new_name "kto"
#define SAMPLE_halo_loss_count_counts fx.host.numbers
#define SAMPLE_halo_loss_count_width 3
#define SAMPLE_halo_loss_summarize_count halo_loss_metric_count(fx.loss)
#define SAMPLE_halo_refpoint_new_name "mismatch"
#define SAMPLE_halo_refpoint_accumulate_acc fx.host.numbers
#define SAMPLE_halo_refpoint_accumulate_width 2
#define SAMPLE_halo_refpoint_finish_width 2
#define SAMPLE_halo_refpoint_apply_count 8
#define SAMPLE_halo_refpoint_load_data "{\"format\":\"halo.refpoint\",\"version\":1,\"name\":\"mismatch\",\"memory\":[]}"
#define SAMPLE_halo_refpoint_load_len (sizeof SAMPLE_halo_refpoint_load_data - 1)

#endif
