/*
 * display.h: the displays of this machine: X11's through RandR (loaded when DISPLAY is set), without
 * it the kernel's (DRM, with what each tells of itself), CoreGraphics's on macOS.
 */
#ifndef NX_BASE_DISPLAY_H
#define NX_BASE_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char name[64];           /* the connector's, "HDMI-1" */
    char model[32];          /* as the display calls itself; "" unknown */
    int screen;              /* X screen; 0 elsewhere */
    int x, y, width, height; /* pixels; place within the screen */
    int width_mm, height_mm; /* 0: unknown */
    double refresh;          /* Hz; 0: unknown */
    double scale;            /* suggested by the density: 1, 1.25 … 4 */
    bool primary;
} nx_display;

/* Fills out[0..most-1]; returns how many there are. *source: "x11", "drm", "coregraphics", or "none"
 * where nothing tells. */
size_t nx_displays(nx_display *out, size_t most, const char **source);

/* 1 to 4 in quarters, from pixels and millimetres (0: 1). */
double nx_display_scale(int width, int width_mm);

#endif
