"""The attributes of estimators, by whether they can change an answer.

`honoured` attributes can change an answer, and the converter handles them. `irrelevant` ones cannot: they control the
training, the speed or the output of text. `fitted` ones are results of the training, of which the converter reads those
that matter. With any other attribute a model is not compiled, unless it is a parameter at its default (see `known`). A
new parameter of a new version of a library is therefore refused and not ignored.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple


class Attributes(NamedTuple):
    """The attributes of one class."""

    honoured: frozenset[str]
    irrelevant: frozenset[str]
    fitted: frozenset[str]


def _of(honoured: str = "", irrelevant: str = "", fitted: str = "") -> Attributes:
    named = f"{fitted} n_features_in_ n_features_ feature_names_in_ _estimator_type"
    return Attributes(frozenset(honoured.split()), frozenset(irrelevant.split()), frozenset(named.split()))


# --- scikit-learn: estimators -------------------------------------------------------------------------------

_LINEAR = "C alpha class_weight copy_X dual fit_intercept intercept_scaling l1_ratio max_iter n_jobs normalize penalty \
positive precompute random_state selection solver tol verbose warm_start"
_TREE = "ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes min_impurity_decrease \
min_impurity_split min_samples_leaf min_samples_split min_weight_fraction_leaf random_state splitter"
_ENSEMBLE = f"{_TREE} bootstrap max_samples n_estimators n_jobs oob_score verbose warm_start"
_BOOSTING = f"{_TREE} alpha loss n_estimators n_iter_no_change subsample tol validation_fraction verbose warm_start"
_HISTOGRAM = (
    "categorical_features class_weight early_stopping interaction_cst l2_regularization learning_rate max_bins \
max_depth max_features max_iter max_leaf_nodes min_samples_leaf monotonic_cst n_iter_no_change quantile random_state \
scoring tol validation_fraction verbose warm_start"
)

_TREE_FITTED = "classes_ n_classes_ n_outputs_ max_features_ tree_ class_weight"
_FOREST_FITTED = (
    "_n_samples _n_samples_bootstrap _sample_weight base_estimator base_estimator_ class_weight classes_ estimator \
estimator_ estimator_params estimators_ max_features n_classes_ n_outputs_ oob_decision_function_ oob_prediction_ \
oob_score_"
)
_BOOSTING_FITTED = (
    "_loss _loss_function_ _n_classes _rng alpha base_estimator_ classes_ class_weight estimators_ init_ loss_ \
max_features_ n_classes_ n_estimators_ n_trees_per_iteration_ oob_improvement_ oob_score_ oob_scores_ train_score_"
)
_HISTOGRAM_FITTED = "_baseline_prediction _bin_mapper _feature_subsample_rng _feature_subsample_seed _fitted_with_sw \
_in_fit _is_categorical_remapped _label_encoder _loss _n_features _predictors _preprocessor _random_seed _scorer \
_use_validation_data bin_mapper_ classes_ do_early_stopping_ is_categorical_ loss_ n_trees_per_iteration_ train_score_ \
validation_score_"
_LINEAR_FITTED = "classes_ coef_ intercept_ n_iter_"

_FOREST = _of("", _ENSEMBLE, _FOREST_FITTED)
_TREES = _of("", _TREE, _TREE_FITTED)
_REGRESSION = _of("", f"{_LINEAR} n_jobs", f"{_LINEAR_FITTED} dual_gap_ l1_ratio rank_ singular_ solver_")

SKLEARN: Mapping[str, Attributes] = {
    "Pipeline": _of("steps", "memory verbose"),
    "LogisticRegression": _of("multi_class solver", _LINEAR, _LINEAR_FITTED),
    "LogisticRegressionCV": _of(
        "multi_class solver",
        f"{_LINEAR} Cs cv l1_ratios refit scoring use_legacy_attributes",
        f"{_LINEAR_FITTED} C C_ Cs_ coefs_paths_ l1_ratio l1_ratio_ l1_ratios_ scores_",
    ),
    "SGDClassifier": _of(
        "loss",
        f"{_LINEAR} average early_stopping epsilon eta0 learning_rate n_iter_no_change power_t shuffle \
        validation_fraction",
        f"{_LINEAR_FITTED} C _average_coef _average_intercept _expanded_class_weight _loss_function_ _standard_coef \
        _standard_intercept average_coef_ average_intercept_ loss_function_ standard_coef_ standard_intercept_ t_",
    ),
    **dict.fromkeys(("LinearRegression", "Ridge", "Lasso", "ElasticNet"), _REGRESSION),
    **dict.fromkeys(
        ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"), _TREES
    ),
    **dict.fromkeys(
        ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"), _FOREST
    ),
    "GradientBoostingClassifier": _of("init learning_rate loss", _BOOSTING, _BOOSTING_FITTED),
    "GradientBoostingRegressor": _of("init learning_rate", f"{_BOOSTING} loss", _BOOSTING_FITTED),
    **dict.fromkeys(
        ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), _of("loss", _HISTOGRAM, _HISTOGRAM_FITTED)
    ),
    "IsolationForest": _of(
        "max_features max_samples",
        f"{_ENSEMBLE} contamination",
        f"{_FOREST_FITTED} _average_path_length_per_tree _decision_path_lengths _max_features _max_samples _seeds \
        bootstrap_features estimators_features_ max_samples_ offset_ oob_score",
    ),
    "CalibratedClassifierCV": _of(
        "", "base_estimator cv ensemble estimator method n_jobs", "calibrated_classifiers_ classes_"
    ),
    "_CalibratedClassifier": _of("", "method", "base_estimator calibrators classes estimator"),
    "_SigmoidCalibration": _of("", "", "a_ b_"),
    "IsotonicRegression": _of(
        "out_of_bounds", "increasing y_max y_min", "X_max_ X_min_ X_thresholds_ f_ increasing_ y_thresholds_"
    ),
    "DummyClassifier": _of(
        "", "constant random_state strategy", "_strategy class_prior_ classes_ n_classes_ n_outputs_ sparse_output_"
    ),
    "DummyRegressor": _of("", "constant quantile strategy", "constant_ n_outputs_"),
    # --- scikit-learn: transformers -------------------------------------------------------------------------
    "ColumnTransformer": _of(
        "sparse_threshold transformer_weights transformers",
        "force_int_remainder_cols n_jobs remainder verbose verbose_feature_names_out",
        "_columns _feature_names_in _n_features _name_to_fitted_passthrough _remainder _transformer_to_input_indices \
        output_indices_ sparse_output_ transformers_",
    ),
    "FeatureUnion": _of("transformer_list transformer_weights", "n_jobs verbose verbose_feature_names_out"),
    "FunctionTransformer": _of(
        "func", "accept_sparse check_inverse feature_names_out inv_kw_args inverse_func kw_args"
    ),
    "VarianceThreshold": _of("threshold", "", "variances_"),
    "SelectKBest": _of("k", "score_func", "pvalues_ scores_"),
    "SelectPercentile": _of("percentile", "score_func", "pvalues_ scores_"),
    "SelectFromModel": _of(
        "importance_getter max_features norm_order prefit threshold", "estimator", "estimator_ max_features_ threshold_"
    ),
    "StandardScaler": _of("with_mean with_std", "copy", "mean_ n_samples_seen_ scale_ var_"),
    "MinMaxScaler": _of("clip feature_range", "copy", "data_max_ data_min_ data_range_ min_ n_samples_seen_ scale_"),
    "MaxAbsScaler": _of("", "copy", "max_abs_ n_samples_seen_ scale_"),
    "RobustScaler": _of("with_centering with_scaling", "copy quantile_range unit_variance", "center_ scale_"),
    "PCA": _of(
        "whiten",
        "copy iterated_power n_components n_oversamples power_iteration_normalizer random_state svd_solver tol",
        "_fit_svd_solver components_ explained_variance_ explained_variance_ratio_ mean_ n_components_ n_samples_ \
        noise_variance_ singular_values_",
    ),
    "SimpleImputer": _of(
        "add_indicator missing_values",
        "copy fill_value keep_empty_features strategy verbose",
        "_fill_dtype _fit_dtype _is_empty_feature indicator_ statistics_",
    ),
    "OneHotEncoder": _of(
        "drop handle_unknown max_categories min_frequency sparse sparse_output",
        "categories feature_name_combiner",
        "_default_to_infrequent_mappings _drop_idx_after_grouping _infrequent_enabled _infrequent_indices \
        _n_features_outs categories_ drop_idx_ infrequent_categories_",
    ),
    "OrdinalEncoder": _of(
        "encoded_missing_value handle_unknown max_categories min_frequency unknown_value",
        "categories",
        "_default_to_infrequent_mappings _infrequent_enabled _infrequent_indices _missing_indices categories_",
    ),
}

# --- boosting libraries -------------------------------------------------------------------------------------

_XGBOOST = _of(
    # The booster itself is read from XGBoost's own JSON (see `boosters.xgboost_raw`).
    "base_score booster enable_categorical feature_types missing multi_strategy num_parallel_tree objective",
    "callbacks colsample_bylevel colsample_bynode colsample_bytree early_stopping_rounds eta eval_metric \
    feature_weights gamma gpu_id grow_policy importance_type interaction_constraints lambda learning_rate max_bin \
    max_cat_threshold max_cat_to_onehot max_delta_step max_depth max_leaves min_child_weight monotone_constraints \
    n_estimators n_jobs nthread random_state reg_alpha reg_lambda sampling_method scale_pos_weight seed subsample \
    tree_method use_label_encoder validate_parameters verbosity",
    "_Booster _le best_iteration best_ntree_limit best_score classes_ evals_result_ n_classes_",
)
_LIGHTGBM_TRAINING = "bagging_fraction bagging_freq bagging_seed bin_construct_sample_cnt boost_from_average boosting \
boosting_type cat_l2 cat_smooth categorical_feature cegb_tradeoff colsample_bynode colsample_bytree data_random_seed \
deterministic device device_type drop_rate drop_seed early_stopping early_stopping_min_delta early_stopping_round \
early_stopping_rounds enable_bundle eval_metric extra_trees feature_fraction feature_fraction_bynode \
feature_fraction_seed feature_pre_filter first_metric_only force_col_wise force_row_wise histogram_pool_size \
importance_type interaction_constraints is_unbalance lambda_l1 lambda_l2 learning_rate max_bin max_bin_by_feature \
max_cat_threshold max_cat_to_onehot max_delta_step max_depth metric min_child_samples min_child_weight min_data_in_bin \
min_data_in_leaf min_data_per_group min_gain_to_split min_split_gain min_sum_hessian_in_leaf monotone_constraints \
monotone_constraints_method monotone_penalty n_estimators n_jobs neg_bagging_fraction nthread num_class num_iterations \
num_leaves num_threads objective objective_seed other_rate path_smooth pos_bagging_fraction random_state reg_alpha \
reg_lambda scale_pos_weight seed subsample subsample_for_bin subsample_freq top_k top_rate tree_learner use_missing \
verbose verbosity"
LIGHTGBM_TRAINING = frozenset(_LIGHTGBM_TRAINING.split())
"""Parameters that LightGBM only reads in training. Others may change predictions (`pred_early_stop`)."""
_LIGHTGBM = _of(
    "_other_params",
    f"{_LIGHTGBM_TRAINING} class_weight",
    "_Booster _best_iteration _best_score _class_map _class_weight _classes _eval_metric _evals_result \
    _fitted_with_feature_names _fobj _le _n_classes _n_features _n_features_in _objective best_iteration_ best_score_ \
    fitted_",
)

BOOSTING: Mapping[tuple[str, str], Attributes | None] = {
    ("xgboost", "XGBClassifier"): _XGBOOST,
    ("xgboost", "XGBRegressor"): _XGBOOST,
    ("lightgbm", "LGBMClassifier"): _LIGHTGBM,
    ("lightgbm", "LGBMRegressor"): _LIGHTGBM,
    # These keep their state in native code, which is read from the JSON that the library writes.
    ("xgboost", "Booster"): None,
    ("lightgbm", "Booster"): None,
    ("catboost", "CatBoostClassifier"): None,
    ("catboost", "CatBoostRegressor"): None,
}
