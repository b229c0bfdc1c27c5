/* A stand-in for libtensorflowlite_c.so and libedgetpu.so.1, which no package registry has: the same functions,
 * and a network that gives the first of three channels of 64 x 64 pixels. It refuses a model for the Edge TPU
 * without the delegate, as the real one does, and a delegate that is no longer there when it is used. A model whose
 * file says "unplugged" cannot be executed. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIXELS (64 * 64)

#ifdef EDGE_TPU

struct device { int kind; const char *path; };

struct device *edgetpu_list_devices(size_t *count) {
    static struct device usb = {1, "/sys/bus/usb/devices/1-1"};
    *count = getenv("NO_EDGE_TPU") ? 0 : 1;
    return *count ? &usb : NULL;
}
void edgetpu_free_devices(struct device *list) { (void)list; }
int *edgetpu_create_delegate(int kind, const char *path, const void *options, size_t count) {
    if (kind != 1 || !path || options || count) return NULL;
    int *delegate = malloc(sizeof(int));
    *delegate = 4242;
    return delegate;
}
void edgetpu_free_delegate(int *delegate) {
    *delegate = 0;
    free(delegate);
}

#else

struct model { const uint8_t *bytes; size_t size; };
struct options { int threads; int *delegate; };
struct tensor { int8_t *data; size_t size; };
struct interpreter { struct tensor in, out; int allocated, unplugged; int *delegate; };

const char *TfLiteVersion(void) { return "2.16.1"; }
struct model *TfLiteModelCreate(const void *bytes, size_t size) {
    if (size < 8 || memcmp((const char *)bytes + 4, "TFL3", 4)) return NULL;
    struct model *model = malloc(sizeof *model);
    model->bytes = bytes;
    model->size = size;
    return model;
}
void TfLiteModelDelete(struct model *model) { free(model); }
struct options *TfLiteInterpreterOptionsCreate(void) { return calloc(1, sizeof(struct options)); }
void TfLiteInterpreterOptionsDelete(struct options *options) { free(options); }
void TfLiteInterpreterOptionsSetNumThreads(struct options *options, int32_t threads) { options->threads = threads; }
void TfLiteInterpreterOptionsAddDelegate(struct options *options, int *delegate) { options->delegate = delegate; }
static int says(const struct model *model, const char *word) {
    size_t length = strlen(word);
    for (size_t i = 0; i + length < model->size; i++)
        if (!memcmp(model->bytes + i, word, length)) return 1;
    return 0;
}
struct interpreter *TfLiteInterpreterCreate(const struct model *model, const struct options *options) {
    int compiled = says(model, "edgetpu-custom-op");
    if (options->threads != 2 || compiled != (options->delegate && *options->delegate == 4242)) {
        fprintf(stderr, "ERROR: unresolved custom op\n");
        return NULL;
    }
    struct interpreter *i = calloc(1, sizeof *i);
    i->delegate = options->delegate;
    i->unplugged = says(model, "unplugged");
    i->in = (struct tensor){calloc(3, PIXELS), 3 * PIXELS};
    i->out = (struct tensor){calloc(1, PIXELS), PIXELS};
    return i;
}
void TfLiteInterpreterDelete(struct interpreter *i) {
    free(i->in.data);
    free(i->out.data);
    free(i);
}
int TfLiteInterpreterAllocateTensors(struct interpreter *i) { i->allocated = 1; return 0; }
int32_t TfLiteInterpreterGetInputTensorCount(const struct interpreter *i) { (void)i; return 1; }
int32_t TfLiteInterpreterGetOutputTensorCount(const struct interpreter *i) { (void)i; return 1; }
struct tensor *TfLiteInterpreterGetInputTensor(struct interpreter *i, int32_t at) { return at == 0 ? &i->in : NULL; }
struct tensor *TfLiteInterpreterGetOutputTensor(struct interpreter *i, int32_t at) { return at == 0 ? &i->out : NULL; }
size_t TfLiteTensorByteSize(const struct tensor *tensor) { return tensor->size; }
int TfLiteTensorCopyFromBuffer(struct tensor *tensor, const void *from, size_t size) {
    if (size != tensor->size) return 1;
    memcpy(tensor->data, from, size);
    return 0;
}
int TfLiteTensorCopyToBuffer(const struct tensor *tensor, void *to, size_t size) {
    if (size != tensor->size) return 1;
    memcpy(to, tensor->data, size);
    return 0;
}
int TfLiteInterpreterInvoke(struct interpreter *i) {
    if (!i->allocated || i->unplugged || (i->delegate && *i->delegate != 4242)) return 1;
    for (int at = 0; at < PIXELS; at++) i->out.data[at] = i->in.data[3 * at];
    return 0;
}

#endif
