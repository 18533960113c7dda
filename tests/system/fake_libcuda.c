/* A driver with two GPUs, as far as speedyzero/gpus.py asks: what it answers depends on which context is current. */
#include <stddef.h>
#include <stdio.h>

static int current = -1, retained = 0;

int cuInit(unsigned flags) { return FAILS; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = 10 + index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "H%d", device - 10); return 0; }
int cuDeviceGetAttribute(int *found, int which, int device) { *found = which == 75 ? 9 : device - 10; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(size_t)device; retained++; return 0; }
int cuCtxSetCurrent(void *context) { current = (int)(size_t)context; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    if (!retained) return 201;
    *total = 80ul << 30;
    *free = (size_t)(current - 9) << 30;
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) { retained--; return 0; }
