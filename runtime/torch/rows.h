// Loops over one row of d floats. They are in a file of their own to be compiled for several kinds of processors: the one
// that fits is chosen when the program starts.
#ifndef VALENCE_TORCH_ROWS_H
#define VALENCE_TORCH_ROWS_H

#include <cstdint>

// row_norm is y = x r w with r = 1 / sqrt(mean(x^2) + eps), which it returns.
float row_norm(const float *x, const float *w, float *y, int64_t d, double eps);
// row_norm_back is the gradient dx for a gradient g of y.
void row_norm_back(const float *g, const float *x, const float *w, float r, float *dx, int64_t d);
// row_product is y = u l, or y = u where l is null.
void row_product(const float *u, const float *l, float *y, int64_t d);
// row_product_back gives the gradient du for a gradient g of y, and adds that of l to dl.
void row_product_back(const float *g, const float *u, const float *l, float *du, float *dl, int64_t d);
// row_levels is y = round(x / step) + top + 1 with step = max|x| / top, which it returns; all top + 1 for a row of zeros.
float row_levels(const float *x, uint8_t *y, int64_t d, int top);
// row_times is y times a number.
void row_times(float *y, float by, int64_t d);
// rows_whole makes of d sums of 32 bits in each of n rows, which lie stride apart, in place, floats: (c - zeros) scales, by the row's.
void rows_whole(float *c, int64_t n, int64_t stride, const int32_t *zeros, const float *scales, const float *by, int64_t d);
// row_add is x += c l; l may be null for ones.
void row_add(const float *c, const float *l, float *x, int64_t d);
// row_activate is y = f(h hl) u ul, where hl, ul, or u and ul may be null for ones. kind is a vl_activation.
void row_activate(int kind, const float *h, const float *hl, const float *u, const float *ul, float *y, int64_t d);

// row_activate_back gives the gradients dh and du of y = f(h) u l for a gradient g of y, and adds that of l to dl. l and dl may
// be null for ones.
void row_activate_back(int kind, const float *g, const float *h, const float *u, const float *l, float *dh, float *du, float *dl, int64_t d);

#endif
