/* What the files of the planner share.  Who may include: compile/planner*.c. */
#ifndef FM_COMPILE_PLANNER_INTERNAL_H
#define FM_COMPILE_PLANNER_INTERNAL_H

#include "compile/pipeline.h"
#include "compile/plan/problem.h"
#include "compile/profile/device_profile.h"
#include "contract/pack.h"
#include "flashmem/planner.h"
#include "schedule/cut.h"
#include "schedule/replay.h"

struct flashmem_planner {
    flashmem_compile_options options;
    char                    *path;
    fm_compilation           compilation; /* of a model; arena NULL: of a pack */
    bool                     lowered;     /* what is below stands (of a model: its graph is no longer as imported) */
    fm_lower                 lower;
    fm_pack                  pack;
    fm_packed                packed;
    fm_program               program;
    flashmem_layout          layout;
    uint64_t                 weight_bytes;
};

typedef struct fm_planned { /* what a flashmem_plan handed out is the beginning of */
    flashmem_plan        plan;
    fm_arena            *arena;   /* of this and all below */
    fm_device_profile    profile; /* zero without one */
    fm_replay_request    request;
    fm_replay            replay;
    fm_program           lowered; /* that replay is of */
    uint32_t             program; /* of the pack */
    fm_program_cut       cut;     /* overlap plans of programs: what problem and solved are over */
    fm_overlap_problem   problem;
    fm_overlap_plan      solved;
    flashmem_planner    *split; /* fusion: the model lowered with steps split, and its plan */
    const flashmem_plan *split_plan;
    fm_compilation       again; /* instances: the graph, once the planner's own was lowered */
} fm_planned;

/* The device as the plan options give it, for the layout that the weights have. */
flashmem_status fm_planner_device(const flashmem_planner *planner, const flashmem_plan_options *options,
                                  flashmem_device *out, flashmem_error *err);

/* planner_profile.c: loads the profile that the options name, if they do: its device, and a time for every kernel step.
 * WRONG_LAYOUT: it is of weights of another layout. */
flashmem_status fm_planner_profile(flashmem_planner *planner, const flashmem_plan_options *options, fm_planned *out,
                                   flashmem_error *err);
/* What launch k of out's cut may load, by the profile. */
uint64_t fm_planner_capacity(void *launches, uint32_t k);
typedef struct fm_planner_launches {
    const flashmem_planner *planner;
    const fm_planned       *plan;
} fm_planner_launches;

/* planner_place.c: places out's replay by CP-SAT.  UNSUPPORTED: no library, or too much to place. */
flashmem_status fm_planner_place(const flashmem_planner *planner, const flashmem_plan_options *options, fm_planned *out,
                                 flashmem_error *err);

/* planner_overlap.c: an overlap plan of the lowered program, and of an instance made from the graph as imported. */
flashmem_status fm_planner_program(flashmem_planner *planner, const flashmem_plan_options *options, fm_planned *out,
                                   flashmem_error *err);
/* planner_fusion.c: out's overlap plan made again with the fused steps split that its capacities ask for. */
flashmem_status fm_planner_fusion(flashmem_planner *planner, const flashmem_plan_options *options,
                                  const fm_overlap_options *solver, fm_planned *out, flashmem_error *err);
/* planner_policy.c: out's request made that of the published policy; what the view of its replay lacks. */
flashmem_status fm_planner_published(flashmem_planner *planner, const flashmem_plan_options *options, fm_planned *out,
                                     flashmem_error *err);
void            fm_planner_note_published(fm_planned *out);
flashmem_status fm_planner_instance(flashmem_planner *planner, const flashmem_plan_options *options, fm_planned *out,
                                    flashmem_error *err);

#endif
