set(FM_SCHEDULE_SOURCES
    src/schedule/place.c
    src/schedule/place_verify.c
    src/schedule/timed.c
    src/schedule/timed_verify.c)
