set(FM_CONTRACT_SOURCES
    src/contract/overlap_verify.c
    src/contract/pack_overlap.c
    src/contract/pack_read.c
    src/contract/pack_write.c
    src/contract/program_builder.c
    src/contract/program_verify.c
    src/contract/tensor.c)
