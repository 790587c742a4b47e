/* What flashmem_profile is, for the files that make and use one.  Who may include: compile/profile. */
#ifndef FM_COMPILE_PROFILE_PROFILE_H
#define FM_COMPILE_PROFILE_PROFILE_H

#include "compile/profile/learn.h"

struct flashmem_profile {
    fm_device_profile device;
    fm_samples        samples; /* malloc'd; what it was learnt from, none of a loaded one */
};

#endif
