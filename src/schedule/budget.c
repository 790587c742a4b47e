#include "schedule/budget.h"

#include <inttypes.h>
#include <math.h>

flashmem_status fm_budget_check(flashmem_budget_kind kind, double value, flashmem_error *err) {
    bool valued = kind == FLASHMEM_BUDGET_BYTES || kind == FLASHMEM_BUDGET_PERCENT || kind == FLASHMEM_BUDGET_LEAVE;
    if ((unsigned)kind > FLASHMEM_BUDGET_MINIMUM)
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "budget kind %u", (unsigned)kind);
    if (valued && (!isfinite(value) || value < 0 || value > 1e18))
        return fm_fail(err, FLASHMEM_INVALID_ARGUMENT, "a budget of %g: a number from 0 to 1e18 is wanted", value);
    return FLASHMEM_OK;
}

static flashmem_status set_budget(const fm_budget *b, fm_replay_request *r, flashmem_error *err) {
    if ((b->kind == FLASHMEM_BUDGET_AUTO || b->kind == FLASHMEM_BUDGET_LEAVE) && !b->available)
        return fm_fail(err, FLASHMEM_BUDGET, "the system does not say how much memory is free: give a budget in bytes");
    r->automatic = b->kind == FLASHMEM_BUDGET_AUTO;
    r->minimum = b->kind == FLASHMEM_BUDGET_MINIMUM;
    switch (b->kind) {
    case FLASHMEM_BUDGET_AUTO: r->budget = b->available / 2; break;
    case FLASHMEM_BUDGET_OFF: r->budget = UINT64_MAX; break;
    case FLASHMEM_BUDGET_BYTES: r->budget = (uint64_t)b->value; break;
    case FLASHMEM_BUDGET_PERCENT: r->budget = (uint64_t)((double)b->weight_bytes * b->value / 100); break;
    case FLASHMEM_BUDGET_LEAVE:
        r->budget = b->available > (uint64_t)b->value ? b->available - (uint64_t)b->value : 0;
        break;
    case FLASHMEM_BUDGET_MINIMUM: break;
    }
    return FLASHMEM_OK;
}

flashmem_status fm_replay_make_within(const fm_packed *packed, const fm_program *program, const fm_budget *budget,
                                      fm_replay_request *request, const fm_log *log, fm_arena *arena, fm_replay *out,
                                      flashmem_error *err) {
    flashmem_error first = { 0 };
    FM_TRY(set_budget(budget, request, err));
    flashmem_status status = fm_replay_make(packed, program, request, log, arena, out, &first);
    if (status == FLASHMEM_OK) return FLASHMEM_OK;
    bool raise = status == FLASHMEM_BUDGET && budget->kind == FLASHMEM_BUDGET_PERCENT;
    if (!raise || (out->minimum && out->minimum <= request->budget)) /* a policy needs more */
        return fm_fail(err, status, "%s", first.message);
    request->minimum = true;
    FM_TRY(fm_replay_make(packed, program, request, log, arena, out, err));
    fm_warn(log, "plan", "%g %% of the weights are %" PRIu64 " bytes: raised to the minimum, %" PRIu64, budget->value,
            request->budget, out->peak);
    return FLASHMEM_OK;
}

const uint8_t *fm_replay_external(const fm_program *p, bool outputs, fm_arena *arena) {
    uint8_t *external = fm_arena_array(arena, p->value_count, 1);
    for (uint32_t i = 0; i < p->input_count; i++) external[p->inputs[i]] = 1;
    for (uint32_t i = 0; outputs && i < p->output_count; i++)
        if (p->values[p->outputs[i]].alias == FM_NONE) external[p->outputs[i]] = 1;
    return external;
}
