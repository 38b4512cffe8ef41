// A product whose packed weights have another type than its sums, beside the same with weights of the
// type of the sums that have the same values: every bit of both has to be the same.
#include <cstdio>
#include <vector>

#include "native/matmul.h"

using namespace rnncore;

// How many elements of C differ, for `rows` rows of K terms and `vectors` registers of columns.
template <class T, class W>
static int differences(isize rows, isize K, isize vectors) {
    constexpr isize L = LANES<T>;
    const isize width = vectors * L;
    std::vector<W> narrow(K * width);
    std::vector<T> wide(K * width), a(rows * K), c_narrow(rows * width), c_wide(rows * width);
    for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = T(narrow[i] = W(int(i * 37 % 201) - 100));
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = T(int(i * 53 % 97) - 48) / 7;
    std::vector<const T*> a_rows(rows), start(rows);
    std::vector<T*> to_narrow(rows), to_wide(rows);
    const std::vector<T> zeros(width);
    for (isize r = 0; r < rows; ++r) {
        a_rows[r] = &a[r * K], start[r] = zeros.data();
        to_narrow[r] = &c_narrow[r * width], to_wide[r] = &c_wide[r * width];
    }
    const Terms terms{1, 0, K, L};
    const Product<T, W> b{narrow.data(), terms, vectors, PANEL, 1, 0, 1};
    const Product<T> same{wide.data(), terms, vectors, PANEL, 1, 0, 1};
    multiply(b, 0, b.panels(), rows, a_rows.data(), start.data(), to_narrow.data());
    multiply(same, 0, same.panels(), rows, a_rows.data(), start.data(), to_wide.data());
    int found = c_wide[0] == 0;  // so small sums would say nothing
    for (std::size_t i = 0; i < c_wide.size(); ++i) found += c_wide[i] != c_narrow[i];
    return found;
}

int main() {
    int found = 0;
    for (isize rows : {1, 2, 5, 6, 7, 13}) {
        for (isize K : {1, 15, 16, 17, 300}) {
            for (isize vectors : {1, 3, 4, 5, 17}) {
                found += differences<double, float>(rows, K, vectors);
                found += differences<float, signed char>(rows, K, vectors);
                found += differences<float, float>(rows, K, vectors);
            }
        }
    }
    std::printf("%d\n", found);
}
