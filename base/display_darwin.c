/* display_darwin.c: displays by CoreGraphics. */
#include <CoreGraphics/CoreGraphics.h>
#include <stdio.h>

#include "base/display.h"

double nx_display_scale(int width, int width_mm)
{
    if (width <= 0 || width_mm <= 0)
        return 1;
    double scale = (int)(width * 25.4 / width_mm / 96 * 4 + 0.5) / 4.0;
    return scale < 1 ? 1 : scale > 4 ? 4 : scale;
}

size_t nx_displays(nx_display *out, size_t most, const char **source)
{
    CGDirectDisplayID ids[32];
    uint32_t n = 0;
    *source = "coregraphics";
    if (CGGetActiveDisplayList(most < 32 ? (uint32_t)most : 32, ids, &n) != kCGErrorSuccess)
        n = 0;
    for (uint32_t i = 0; i < n; i++) {
        CGRect r = CGDisplayBounds(ids[i]);
        CGSize mm = CGDisplayScreenSize(ids[i]);
        CGDisplayModeRef mode = CGDisplayCopyDisplayMode(ids[i]);
        out[i] = (nx_display){.x = (int)r.origin.x, .y = (int)r.origin.y, .width = (int)r.size.width,
                              .height = (int)r.size.height, .width_mm = (int)mm.width,
                              .height_mm = (int)mm.height, .scale = 1,
                              .primary = CGDisplayIsMain(ids[i])};
        snprintf(out[i].name, sizeof out[i].name, "display-%u", ids[i]);
        if (mode && r.size.width > 0) {
            out[i].scale = (double)CGDisplayModeGetPixelWidth(mode) / r.size.width;
            out[i].refresh = CGDisplayModeGetRefreshRate(mode);
        }
        CGDisplayModeRelease(mode);
    }
    if (!n)
        *source = "none";
    return n;
}
