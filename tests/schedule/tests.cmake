fm_add_test(NAME test_timed SOURCES tests/schedule/test_timed.c LABELS schedule)
fm_add_test(NAME test_place SOURCES tests/schedule/test_place.c LABELS schedule)
fm_add_test(NAME test_replay SOURCES tests/schedule/test_replay.c LABELS schedule)
fm_add_test(NAME test_replay_verify SOURCES tests/schedule/test_replay_verify.c LABELS schedule)
