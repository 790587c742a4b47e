#include "tests/run/overlap_pack.h"

#include "run/model.h"

flashmem_status fm_overlap_add(const char *pack_path, const flashmem_run_options *options, const overlap_taste *taste,
                               uint64_t slab_bytes, flashmem_error *err) {
    flashmem_run_options plan = *options;
    flashmem_model      *model;
    fm_program_cut       cut;
    made_overlap         made;
    plan.plan_only = 1;
    plan.objective = FLASHMEM_OBJECTIVE_TIMED;
    plan.budget_kind = FLASHMEM_BUDGET_OFF;
    FM_TRY(fm_model_open(pack_path, &plan, NULL, &model, err));
    fm_replay_request request = model->request;
    request.slab_bytes = slab_bytes;
    flashmem_status status = fm_program_cut_make(&model->pack.packed, model->program, &request, model->plan_arena, &cut,
                                                 err);
    if (status == FLASHMEM_OK) {
        overlap_make(&made, &cut, &request, taste);
        made.plan.program = options->program;
        status = fm_pack_append_overlap(pack_path, &made.stored, err);
        overlap_free(&made);
    }
    flashmem_model_close(model);
    return status;
}
