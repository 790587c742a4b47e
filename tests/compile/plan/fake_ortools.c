/* A library with OR-Tools' entry points that answers what FAKE_ORTOOLS_ANSWER says, in hexadecimal: what is made of
 * answers that the real one would not give. */
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT void *SolveCpNewEnv(void);
EXPORT void  SolveCpDestroyEnv(void *env);
EXPORT void  SolveCpStopSearch(void *env);
EXPORT void  SolveCpInterruptible(void *env, const void *model, int model_bytes, const void *parameters,
                                  int parameter_bytes, void **response, int *response_bytes);

EXPORT void *SolveCpNewEnv(void) { return getenv("FAKE_ORTOOLS_FULL") ? NULL : malloc(1); }
EXPORT void  SolveCpDestroyEnv(void *env) { free(env); }
EXPORT void  SolveCpStopSearch(void *env) { (void)env; }

static unsigned digit(char c) { return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10); }

EXPORT void SolveCpInterruptible(void *env, const void *model, int model_bytes, const void *parameters,
                                 int parameter_bytes, void **response, int *response_bytes) {
    const char *text = getenv("FAKE_ORTOOLS_ANSWER");
    (void)env, (void)model, (void)model_bytes, (void)parameters, (void)parameter_bytes;
    if (!text) return; /* and leaves the caller's variables alone */
    *response_bytes = (int)(strlen(text) / 2);
    unsigned char *bytes = malloc(strlen(text) / 2 + 1);
    for (int i = 0; bytes && i < *response_bytes; i++)
        bytes[i] = (unsigned char)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    *response = bytes;
}
